"""Site files: what they may say, what is said about what they may not, and which one is found."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest

from hpcsearch.errors import LimitError, SiteError
from hpcsearch.sites import Site, limits
from hpcsearch.sites.find import data_folder, detect, find_site, search_path, site_files
from hpcsearch.sites.load import dump_site, load_site, origins, read_site

WHOLE = """\
name = "hill"
scheduler = "slurm"
organisation = "Hill Centre"
release = "slurm"
required = ["account"]
environment = ["module load python"]

[detect]
hostnames = ["hill-login-*"]
variables = { HILL = "1" }

[node]
cores = 64
reserved_cores = [0, 32]
gpus = 2
gpu_variable = "CUDA_VISIBLE_DEVICES"
gpu_order = [1, 0]

[launcher]
kind = "srun"
agent_arguments = ["--mpi=none"]

[queues.debug]
partition = "short"
qos = "debug"
tiers = [{ max_nodes = 2, walltime = "0:30:00" }]

[queues.main]
tiers = [
  { min_nodes = 1, max_nodes = 8, walltime = "12:00:00" },
  { min_nodes = 9, walltime = "2-00:00:00" },
]

[[facts]]
key = "queues"
source = "https://hill.example/queues"
date = 2026-08-19
confidence = "A"
"""


def written(folder: Path, text: str, name: str = "hill.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


def test_every_key_reaches_the_site(tmp_path: Path) -> None:
    site = load_site(written(tmp_path, WHOLE))
    assert (site.name, site.release, site.environment) == ("hill", "slurm", ("module load python",))
    assert (site.node.reserved_cores, site.node.gpu_order) == ((0, 32), (1, 0))
    assert site.launcher.agent_arguments == ("--mpi=none",)
    assert site.queue("debug").qos == "debug"
    assert [site.queue("main").longest_s(nodes) for nodes in (8, 9)] == [12 * 3600, 48 * 3600]
    assert site.facts[0].date == datetime.date(2026, 8, 19)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("gpu_variable", "gpu_varable", 16, ["unknown key 'gpu_varable' in [node]", "did you mean 'gpu_variable'"]),
        ("organisation", "organization", 3, ["the top of the file", "did you mean 'organisation'"]),
        ("[launcher]", "[luncher]", 19, ["did you mean 'launcher'"]),
        ("cores = 64", 'cores = "many"', 13, ["cores must be a whole number, not 'many'"]),
        ("cores = 64", "cores = true", 13, ["cores must be a whole number, not True"]),
        ("cores = 64", "cores = -1", 13, ["must not be negative"]),
        ('"srun"', '"rsh"', 20, ["kind must be one of 'none', 'srun'", "not 'rsh'"]),
        ('"0:30:00"', '"30"', 26, ["walltime must be a duration"]),
        ("min_nodes = 9", "minnodes = 9", 31, ["did you mean 'min_nodes'"]),
        ("[0, 32]", "0", 14, ["reserved_cores must be a list"]),
        ('"hill-login-*"', "7", 9, ["hostnames must be a text"]),
        ("2026-08-19", '"then"', 37, ["date must be a date"]),
        ('confidence = "A"', 'confidence = "Z"', 38, ["confidence must be one of"]),
        ('qos = "debug"', 'qos = "a\\nb"', 25, ["must be one line"]),
    ],
)
def test_an_error_names_the_line_and_the_nearest_key(
    tmp_path: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    file = written(tmp_path, WHOLE.replace(old, new, 1))
    with pytest.raises(SiteError) as error:
        load_site(file)
    assert error.value.message.startswith(f"{file}, line {line}: ")
    for word in words:
        assert word in error.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('scheduler = "slurm"', "needs the key 'name'"),
        ("name = ", "is no TOML"),
        (WHOLE.replace("max_nodes = 8", "max_nodes = 0\nmin_nodes = 1"), "is no TOML"),
        (WHOLE.replace("max_nodes = 2", "min_nodes = 4, max_nodes = 2"), "which holds none"),
        (WHOLE.replace("[0, 32]", "[64]"), "not all below"),
        (WHOLE.replace("[1, 0]", "[1, 1]"), "gpu_order"),
        ("[queues]\ndebug = 3\n", "must be a table"),
        (WHOLE.replace('qos = "debug"', "requeue = true"), "requeue = true but is not preemptable"),
        (WHOLE.replace('qos = "debug"', "node = { cores = 8, reserved_cores = [8] }"), "queue debug: reserved_cores"),
    ],
)
def test_what_does_not_hold_together_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError, match=words):
        load_site(written(tmp_path, text))


def test_a_later_file_goes_over_an_earlier_one_key_by_key(tmp_path: Path) -> None:
    lower = written(tmp_path / "a", WHOLE)
    upper = written(tmp_path / "b", '[node]\ngpus = 0\ngpu_order = []\n[queues.debug]\nqos = "own"\n[queues.extra]\n')
    site = load_site(lower, upper)
    assert (site.node.gpus, site.node.cores) == (0, 64)
    assert (site.queue("debug").qos, site.queue("debug").partition) == ("own", "short")
    assert site.queue("extra").tiers == ()
    told = origins([lower, upper])
    assert (told["queues.debug.qos"], told["queues.debug.partition"]) == (upper, lower)


def test_an_incomplete_file_of_the_users_is_checked_with_its_own_lines(tmp_path: Path) -> None:
    upper = written(tmp_path / "b", "\n[node]\ncoers = 1\n")
    with pytest.raises(SiteError, match=rf"{upper}, line 3: unknown key 'coers'"):
        load_site(written(tmp_path / "a", WHOLE), upper)


def test_a_site_goes_with_its_allocation_and_back(tmp_path: Path) -> None:
    site = load_site(written(tmp_path, WHOLE))
    file = tmp_path / "site.json"
    file.write_text(dump_site(site))
    assert read_site(file) == site


def test_all_packaged_sites_load() -> None:
    files = sorted(data_folder("site_configs").glob("*.toml"))
    assert files
    for file in files:
        site = load_site(file)
        assert file.stem == site.name or file.stem.startswith(f"{site.name}-")


def test_every_packaged_machine_names_the_source_of_its_facts() -> None:
    names = {field.name for field in dataclasses.fields(Site)}
    machines = [load_site(file) for file in data_folder("site_configs").glob("*-*.toml")]
    assert len(machines) >= 6
    for site in machines:
        keys = {fact.key for fact in site.facts}
        assert keys >= {"detect", "node", "queues", "launcher"}, site.name
        assert keys <= names, site.name
        assert (bool(site.environment), bool(site.release != "none" and site.scheduler == "slurm")) == (
            "environment" in keys,
            "release" in keys,
        ), site.name
        assert site.organisation
        assert site.contact


def test_what_the_sources_say_of_the_machines() -> None:
    """Spot checks by their own words: reversed GPUs, tiers, cores that are not to be used."""
    polaris, frontier, lumi = (find_site(name) for name in ("polaris", "frontier", "lumi"))
    assert polaris.node.gpu_order == (3, 2, 1, 0)
    assert [polaris.queue("prod").longest_s(nodes) for nodes in (9, 10, 25, 100)] == [None, 10800, 21600, 86400]
    assert [frontier.queue("batch").longest_s(nodes) for nodes in (91, 92, 184)] == [7200, 21600, 43200]
    assert frontier.node.cores - len(frontier.node.reserved_cores) == 56
    assert not frontier.queue("debug").chain
    assert lumi.node_of(lumi.queue("standard")).gpus == 0
    assert lumi.node_of(lumi.queue("standard-g")) == lumi.node
    with pytest.raises(LimitError) as error:
        limits.check_request(polaris, "debug", 4, 1800, "proj")
    assert error.value.message == (
        "queue debug takes at most 2 nodes on polaris; "
        "for 4 nodes use debug-scaling (up to 1:00:00) or capacity (up to 168:00:00)"
    )


def test_the_search_path_goes_from_packaged_to_workflow(tmp_path: Path) -> None:
    environment = {"HPCSEARCH_SITE_PATH": "/first:/second", "HOME": "/home/her"}
    folders = search_path(tmp_path, environment)
    assert folders[0] == data_folder("site_configs")
    assert [str(folder) for folder in folders[1:]] == [
        "/etc/hpcsearch/sites",
        "/second",
        "/first",
        "/home/her/.config/hpcsearch/sites",
        str(tmp_path / "sites"),
    ]


def test_a_site_is_found_by_name_by_short_name_and_by_its_rules(tmp_path: Path) -> None:
    written(tmp_path, WHOLE, "hill-centre.toml")
    environment = {"HPCSEARCH_SITE_PATH": str(tmp_path), "HOME": str(tmp_path), "PATH": ""}
    assert find_site("hill", environment=environment).name == "hill"
    assert find_site("hill-centre", environment=environment).name == "hill"
    assert find_site(environment=environment).name == "local"
    assert find_site(environment={**environment, "HILL": "1"}).name == "hill"
    assert find_site(queue="local", environment={**environment, "HILL": "1"}).name == "local"
    with pytest.raises(SiteError, match="did you mean 'hill-centre'"):
        find_site("hill-center", environment=environment)


def test_a_scheduler_s_command_tells_the_generic_site(tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    known = {name: [written(tmp_path, f'name = "{name}"', f"{name}.toml")] for name in ("slurm", "pbs", "local")}
    assert detect(known, {"PATH": str(tmp_path)}) == "slurm"
    assert detect(known, {"PATH": ""}) == "local"


def test_an_ambiguous_short_name_is_refused(tmp_path: Path) -> None:
    for centre in ("one", "two"):
        written(tmp_path, WHOLE, f"hill-{centre}.toml")
    environment = {"HPCSEARCH_SITE_PATH": str(tmp_path), "HOME": str(tmp_path)}
    with pytest.raises(SiteError, match="hill-one, hill-two"):
        find_site("hill", environment=environment)
    assert set(site_files([tmp_path])) == {"hill-one", "hill-two"}


def test_a_template_is_found_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "hill.sh.j2").write_text("x")
    site = load_site(written(tmp_path, 'template = "hill.sh.j2"\n' + WHOLE))
    assert site.template == str(tmp_path / "hill.sh.j2")
    with pytest.raises(SiteError, match="not beside"):
        load_site(written(tmp_path, 'template = "other.sh.j2"\n' + WHOLE))


def test_sites_are_values() -> None:
    assert Site("a", "local") == Site("a", "local")
