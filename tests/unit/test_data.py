"""Data: the project's folder, and copies on the node's own storage, made once by real processes, killed ones too."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcsearch import data
from hpcsearch.data.sources import Local
from hpcsearch.errors import HpcsearchError, NotFoundError
from hpcsearch.worker import storage
from hpcsearch.worker.storage import StorageError


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is the node's own storage, and an allocation that this process is in."""
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("HPCSEARCH_LOCAL", str(folder))
    monkeypatch.setenv("HPCSEARCH_SCHEDULER_ID", "17")
    monkeypatch.delenv("HPCSEARCH_PROJECT_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    storage.release()  # what the process itself may have held before
    yield folder
    storage.release()


def left_in(disk: Path) -> list[str]:
    """What is in the user's own folder there."""
    return sorted(path.name for folder in disk.iterdir() for path in folder.iterdir())


def copies(disk: Path) -> list[Path]:
    return [path for path in disk.rglob("*") if path.is_file() and path.suffix != ".lock"]


def process(code: str, **environment: str) -> subprocess.Popen[str]:
    """A Python that does something; it ends when its standard input does."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from hpcsearch import data\n{code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


def until(holds: Callable[[], object]) -> None:
    ends_at = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


# --- the project


def test_the_project_path_ends_with_a_slash(tmp_path: Path) -> None:
    assert data.project_path() == f"{tmp_path}/" and data.project_name() == tmp_path.name
    assert (data.project_path() + "Resources/train.tfrecords") == f"{tmp_path}/Resources/train.tfrecords"


def test_the_project_is_the_one_that_the_folder_lies_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "digits_project"
    (root / "digits" / "mlp").mkdir(parents=True)
    (root / "digits" / "__init__.py").touch()
    (root / "pyproject.toml").write_text('[tool.hpcsearch]\npackage = "digits"\n')
    monkeypatch.chdir(root / "digits" / "mlp")
    assert data.project_path() == f"{root}/"
    assert f"/Projects/{data.project_name()}/Jupyter" == "/Projects/digits_project/Jupyter"
    monkeypatch.setenv("HPCSEARCH_PROJECT_PATH", "/scratch/lab/digits")
    assert data.project_path() == "/scratch/lab/digits/" and data.project_name() == "digits"
    monkeypatch.setenv("HPCSEARCH_PROJECT_PATH", "s3://bucket/lab")
    assert data.project_path() == "s3://bucket/lab/"


# --- copies


def test_a_file_and_a_folder_are_copied_with_their_names(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "Resources" / "deep").mkdir(parents=True)
    (tmp_path / "Resources" / "train.tfrecords").write_bytes(b"records")
    (tmp_path / "Resources" / "deep" / "more").write_text("x")
    (tmp_path / "Resources" / "link").symlink_to("deep")
    copy = data.copy_to_local("Resources/train.tfrecords", "")
    assert copy.endswith("/train.tfrecords") and Path(copy).read_bytes() == b"records"
    assert copy.startswith(f"{disk}/hpcsearch-{os.getuid()}/") and "/" + os.uname().nodename + ".17/" in copy
    folder = Path(data.copy_to_local(tmp_path / "Resources"))
    assert folder.name == "Resources" and (folder / "link" / "more").read_text() == "x"
    assert Path(copy).stat().st_mtime == (tmp_path / "Resources" / "train.tfrecords").stat().st_mtime


def test_what_has_not_changed_is_not_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "data.bin"
    source.write_bytes(b"one")
    first = data.copy_to_local("data.bin")
    fetched: list[Path] = []
    fetch = Local.fetch
    monkeypatch.setattr(Local, "fetch", lambda self, target: (fetched.append(target), fetch(self, target)))
    assert data.copy_to_local("data.bin") == data.copy_to_local(source) == first and not fetched
    source.write_bytes(b"three")
    second = data.copy_to_local("data.bin")
    assert Path(second).read_bytes() == b"three" and len(fetched) == 1
    assert Path(first).read_bytes() == b"one"  # whoever reads it still can
    os.utime(source, (1, 1))
    assert data.copy_to_local("data.bin") not in (first, second) and len(fetched) == 2


def test_many_processes_copy_once(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "data.bin").write_bytes(os.urandom(1 << 20))
    code = (
        "import os\n"
        "from hpcsearch.data.sources import Local\n"
        "fetch = Local.fetch\n"
        "def counted(self, target):\n"
        "    open(f'fetched-by-{os.getpid()}', 'w').close()\n"
        "    fetch(self, target)\n"
        "Local.fetch = counted\n"
        "input()\n"
        "print(data.copy_to_local('data.bin'), flush=True)\n"
        "input()\n"
    )
    processes = [process(code) for _ in range(8)]
    for one in processes:
        assert one.stdin
        one.stdin.write("\n")
        one.stdin.flush()
    found = {one.stdout.readline() for one in processes if one.stdout}
    assert len(found) == 1 and Path(found.pop().strip()).read_bytes() == (tmp_path / "data.bin").read_bytes()
    assert len(list(tmp_path.glob("fetched-by-*"))) == 1
    assert len(copies(disk)) == 1
    for one in processes:
        one.communicate("\n", timeout=60)
    assert left_in(disk) == []  # it went with the last of them


SLOW = (
    "import pathlib, time\n"
    "from hpcsearch.data.sources import Local\n"
    "def half(self, target):\n"
    "    target.write_bytes(b'half')\n"
    "    pathlib.Path('copying').touch()\n"
    "    time.sleep(600)\n"
    "Local.fetch = half\n"
    "data.copy_to_local('data.bin')\n"
)


def test_who_waits_takes_over_from_one_that_is_killed(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"the whole")
    killed = process(SLOW)
    until((tmp_path / "copying").exists)
    waiting = process("print('asks', flush=True); print(data.copy_to_local('data.bin'), flush=True); input()")
    assert waiting.stdout and waiting.stdout.readline() == "asks\n"
    killed.kill()
    killed.communicate(timeout=60)
    copy = Path(waiting.stdout.readline().strip())
    assert copy.read_bytes() == b"the whole" and copies(disk) == [copy]
    waiting.communicate("", timeout=60)


def test_what_a_killed_allocation_left_goes_when_the_next_one_comes(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"x")
    killed = process("data.copy_to_local('data.bin'); print('copied', flush=True); input()")
    assert killed.stdout and killed.stdout.readline() == "copied\n"
    killed.kill()
    killed.communicate(timeout=60)
    alive = process("data.copy_to_local('data.bin'); print('copied', flush=True); input()", HPCSEARCH_SCHEDULER_ID="18")
    assert alive.stdout and alive.stdout.readline() == "copied\n"
    host = os.uname().nodename
    assert left_in(disk) == [f"{host}.18", f"{host}.18.lock"]
    elsewhere = disk / f"hpcsearch-{os.getuid()}" / "another-host.19.lock"  # where locks do not reach from here
    elsewhere.touch()
    data.copy_to_local("data.bin")
    assert left_in(disk) == ["another-host.19.lock", *(f"{host}.{name}" for name in ("17", "17.lock", "18", "18.lock"))]
    alive.communicate("", timeout=60)


def test_the_agent_holds_the_copies_until_the_allocation_ends(tmp_path: Path, disk: Path) -> None:
    """Its slots come and go in between."""
    (tmp_path / "data.bin").write_bytes(b"x")
    agent = subprocess.Popen(
        [sys.executable, "-P", "-m", "hpcsearch.worker.agent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    until(lambda: left_in(disk) if list(disk.iterdir()) else None)
    for _ in range(2):
        done = process("print(data.copy_to_local('data.bin'))").communicate("", timeout=60)[0]
        assert Path(done.strip()).read_bytes() == b"x"
    agent.communicate(timeout=60)
    assert left_in(disk) == []


def test_an_agent_without_storage_works_all_the_same(tmp_path: Path) -> None:
    agent = subprocess.run(
        [sys.executable, "-P", "-m", "hpcsearch.worker.agent"],
        input=b"",
        capture_output=True,
        env={**os.environ, "HPCSEARCH_LOCAL": "/proc", "TMPDIR": "/proc"},
        timeout=60,
        check=False,
    )
    assert agent.returncode == 0 and b"hello" in agent.stdout.lower() and not agent.stderr


def test_one_who_is_told_to_end_in_the_middle_leaves_nothing(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"x")
    ended = process(SLOW)
    until((tmp_path / "copying").exists)
    ended.send_signal(signal.SIGINT)
    ended.communicate(timeout=60)
    assert left_in(disk) == []


# --- what goes wrong


def test_a_disk_that_is_too_small_is_told_before_anything_is_copied(tmp_path: Path, disk: Path) -> None:
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(1 << 43)  # of holes
    with pytest.raises(StorageError) as caught:
        data.copy_to_local("data.bin")
    assert f"There is no room for {tmp_path}/data.bin (8,796,093.0 MB) in {disk}/" in caught.value.message
    assert "HPCSEARCH_LOCAL" in caught.value.hint and not copies(disk)


@pytest.mark.parametrize("name", ["data.bin", "."])
def test_a_disk_that_becomes_full_leaves_nothing(tmp_path: Path, disk: Path, name: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "data.bin").write_bytes(bytes(100_000))
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        f"try: data.copy_to_local('source/{name}')\n"
        "except Exception as error: print(type(error).__name__, error, flush=True)\n"
        "input()\n"
    )
    one = process(code)
    assert one.stdout
    line = one.stdout.readline()
    assert line.startswith("StorageError There is no room for ") and "(0.1 MB)" in line
    assert not copies(disk)
    one.communicate("", timeout=60)


def test_what_changes_while_it_is_copied_is_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "data.bin"
    source.write_bytes(b"0")
    fetch = Local.fetch
    changes = iter([b"1", b"22"])

    def changing(self: Local, target: Path) -> None:
        fetch(self, target)
        new = next(changes, None)
        if new is not None:
            source.write_bytes(new)

    monkeypatch.setattr(Local, "fetch", changing)
    assert Path(data.copy_to_local("data.bin")).read_bytes() == b"22"


def test_what_never_rests_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    source = tmp_path / "data.bin"
    source.write_bytes(b"0")
    fetch = Local.fetch

    def changing(self: Local, target: Path) -> None:
        fetch(self, target)
        source.write_bytes(source.read_bytes() * 2)

    monkeypatch.setattr(Local, "fetch", changing)
    with pytest.raises(HpcsearchError, match="changes while it is copied; 3 attempts came to nothing"):
        data.copy_to_local("data.bin")
    assert not copies(disk)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"There is no {tmp_path}/Resources/none"):
        data.copy_to_local("Resources/none")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "dangling").symlink_to("nowhere")
    with pytest.raises(NotFoundError, match=r"There is no .*/folder/dangling"):
        data.copy_to_local("folder")
    (tmp_path / "folder" / "dangling").unlink()
    (tmp_path / "folder" / "itself").symlink_to(".")
    with pytest.raises(HpcsearchError, match="Too many levels of symbolic links"):
        data.copy_to_local("folder")


def test_storage_that_others_could_write_to_is_not_used(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "data.bin").touch()
    folder = disk / f"hpcsearch-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StorageError, match="is not yours alone"):
        data.copy_to_local("data.bin")
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(StorageError, match="is not yours alone"):
        data.copy_to_local("data.bin")
    folder.unlink()
    folder.touch()
    with pytest.raises(StorageError, match="cannot be made: File exists"):
        data.copy_to_local("data.bin")


# --- what fsspec reads


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server for the folder ``web``; its address, and the paths that were fetched from it."""
    (tmp_path / "web").mkdir()
    fetched: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            super().do_GET()

        def log_message(self, *arguments: Any) -> None:
            """Nobody reads it."""

    handler = functools.partial(Handler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", fetched
        running.shutdown()
        thread.join()


def test_a_url_is_fetched_once(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    address, fetched = server
    (tmp_path / "web" / "train.csv").write_text("a,b\n")
    copy = data.copy_to_local(f"{address}/train.csv")
    assert copy.endswith("/train.csv") and Path(copy).read_text() == "a,b\n"
    before = len(fetched)
    assert before and data.copy_to_local(f"{address}/train.csv") == copy
    assert len(fetched) == before
    (tmp_path / "web" / "train.csv").write_text("a,b\n1,2\n")
    assert Path(data.copy_to_local(f"{address}/train.csv")).read_text() == "a,b\n1,2\n"


def test_a_url_with_nothing_behind_it(server: tuple[str, list[str]]) -> None:
    with pytest.raises(NotFoundError, match=r"There is nothing at http://127.0.0.1:.*/none.csv"):
        data.copy_to_local(f"{server[0]}/none.csv")


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(HpcsearchError, match=r"http://127.0.0.1:1/x cannot be read"):
        data.copy_to_local("http://127.0.0.1:1/x")


def test_a_folder_that_fsspec_reads(tmp_path: Path) -> None:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "deep" / "x").write_text("x")
    copy = Path(data.copy_to_local(f"file://{tmp_path}/set"))
    assert copy.name == "set" and (copy / "deep" / "x").read_text() == "x"
    assert data.copy_to_local(f"file://{tmp_path}/set") == str(copy)
    (tmp_path / "set" / "deep" / "x").write_text("longer")
    assert Path(data.copy_to_local(f"file://{tmp_path}/set"), "deep", "x").read_text() == "longer"


@pytest.mark.parametrize("url", ["s3://bucket/x", "nothing://like/that"])
def test_what_fsspec_lacks_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(HpcsearchError, match=f"{url} cannot be read: ") as caught:
        data.copy_to_local(url)
    assert caught.value.hint


def test_without_fsspec_files_are_copied_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    (tmp_path / "data.bin").write_bytes(b"x")
    assert Path(data.copy_to_local("data.bin")).read_bytes() == b"x"
    with pytest.raises(HpcsearchError, match="fsspec is needed") as caught:
        data.copy_to_local("s3://bucket/x")
    assert "pip install 'hpcsearch[data]'" in caught.value.hint
