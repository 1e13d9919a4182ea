"""The environment of evaluations."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.worker import environment

NAMES = st.builds(
    str.__add__,
    st.sampled_from(["SLURM_", "SRUN_", "PMI_", "PMIX_", "OMPI_", "PRTE_", "MPI_", "HYDRA_", "PALS_", "MY_", "PATH"]),
    st.text("ABC_", max_size=4),
)


@given(st.dictionaries(NAMES, st.text(max_size=3)))
def test_launcher_variables_are_renamed_and_the_others_stay(variables: dict[str, str]) -> None:
    scrubbed = environment.scrubbed(variables)
    assert len(scrubbed) == len(variables)
    for name, value in variables.items():
        is_ours = name.startswith(("MY_", "PATH"))
        assert scrubbed[name if is_ours else f"HPCSEARCH_{name}"] == value
        assert (name in scrubbed) is is_ours
    assert environment.scrubbed(scrubbed) == scrubbed


@pytest.mark.parametrize(
    "name",
    [
        "SLURM_JOB_ID",
        "SRUN_DEBUG",
        "PMI_FD",
        "PMI_RANK",
        "PMIX_NAMESPACE",
        "OMPI_COMM_WORLD_RANK",
        "MPI_LOCALRANKID",
        "PALS_RANKID",
        "PBS_NODEFILE",
        "PBS_JOBID",
        "HYDI_CONTROL_FD",
        "PRTE_MCA_prte_base",
    ],
)
def test_each_launchers_rank_goes(name: str) -> None:
    assert environment.scrubbed({name: "1"}) == {f"HPCSEARCH_{name}": "1"}


@pytest.mark.parametrize("name", ["MPI4PY_MPIABI", "MPICH_GPU_SUPPORT_ENABLED", "PATH", "LD_LIBRARY_PATH", "MPIR_CVAR"])
def test_what_a_user_sets_stays(name: str) -> None:
    assert environment.scrubbed({name: "1"}) == {name: "1"}


@pytest.mark.parametrize("name", environment.GPU_VARIABLES)
@pytest.mark.parametrize(("value", "gpus"), [("0,2", ["0", "2"]), ("", []), ("NoDevFiles", []), ("GPU-a1", ["GPU-a1"])])
def test_the_scheduler_has_told_which_gpus(name: str, value: str, gpus: list[str]) -> None:
    assert environment.visible_gpus({name: value}) == gpus


def test_all_gpus_of_the_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia10", "null"]
    monkeypatch.setattr(f"{environment.__name__}.os.listdir", lambda _path: there)
    assert environment.visible_gpus({}) == ["0", "1", "2"]
    monkeypatch.setattr(environment, "_nvidia_gpus", lambda: 0)
    for node, identity in enumerate(("0", "5412", "977")):  # the first is the CPU
        (tmp_path / str(node)).mkdir()
        (tmp_path / str(node) / "gpu_id").write_text(identity + "\n")
    monkeypatch.setattr(environment, "Path", lambda _path: tmp_path)
    assert environment.visible_gpus({}) == ["0", "1"]


def test_what_a_slot_adds() -> None:
    assert (
        environment.slot_variables(3, 8, [], "CUDA_VISIBLE_DEVICES").items()
        >= {
            "HPCSEARCH_SLOT": "3",
            "OMP_NUM_THREADS": "8",
        }.items()
    )
    assert environment.slot_variables(0, 0, ["1", "3"], "ROCR_VISIBLE_DEVICES") == {
        "HPCSEARCH_SLOT": "0",
        "OMP_NUM_THREADS": "1",
        "ROCR_VISIBLE_DEVICES": "1,3",
    }


@given(st.sets(st.integers(0, 300), min_size=1))
def test_lists_of_cpus_are_read(cpus: set[int]) -> None:
    parts, ordered = [], sorted(cpus)
    while ordered:
        run = [ordered.pop(0)]
        while ordered and ordered[0] == run[-1] + 1:
            run.append(ordered.pop(0))
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    assert environment._cpus(",".join(parts) + "\n") == cpus


def test_cores_are_what_the_mask_leaves_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cpu in range(8):  # four cores of two threads: 0 and 4, 1 and 5, ...
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    system = "/sys/devices/system/cpu/"
    monkeypatch.setattr(environment, "Path", lambda path: tmp_path / path.removeprefix(system))
    monkeypatch.setattr(f"{environment.__name__}.os.sched_getaffinity", lambda _pid: {1, 2, 3, 5, 6, 4, 9})
    assert environment.own_cores() == [[1, 5], [2, 6], [3], [4], [9]]  # of 9 nothing is known
