"""A real agent, spoken to as the driver speaks to it."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from process_bed import alive

from hpcsearch.evaluation import State
from hpcsearch.worker import protocol
from hpcsearch.worker.channel import Channel, ClosedError
from hpcsearch.worker.processes import descendants

LIMIT_S = 20.0  # for what should take a moment

MODEL = """\
import json, os, signal, sys, threading, time
import hpcsearch

NAP = "import time; time.sleep(600)"

def nap_forever(config):
    print("asleep", flush=True)
    time.sleep(600)

def daemon(config):
    # double-forked, in a session of its own, with nothing of ours open
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-S", "-c", NAP])
        os._exit(0)
    os.wait()
    if config.get("then") == "return":
        return 1.0
    if config.get("then") == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(600)

def facts(config):
    here = hpcsearch.evaluation()
    return {
        "objective": 1.0, "pid": os.getpid(), "cwd": os.getcwd(), "cpus": sorted(os.sched_getaffinity(0)),
        "slot": here.slot, "id": here.id, "attempt": here.attempt, "left": min(here.time_left_s, 1e9),
        "directory": str(here.directory), "stdin": sys.stdin.read(), "group": os.getpgid(0) == os.getpid(),
        "oom": int(open("/proc/self/oom_score_adj").read()), "environment": dict(os.environ),
    }

def spoil(config):
    os.environ["SPOILT"] = "1"
    os.environ["PATH"] = "/nowhere"
    os.chdir("/")
    return 1.0

def reports(config):
    for step in range(3):
        hpcsearch.report(step=step, loss=1.0 / (step + 1))
    return 1.0

def reports_from_threads(config):
    def work(number):
        for step in range(300):
            hpcsearch.report(step=step, thread=number, padding="x" * 200)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1.0

def reports_and_dies(config):
    for step in range(5):
        hpcsearch.report(step=step)
    os.kill(os.getpid(), signal.SIGKILL)

def reports_many(config):
    for step in range(20_000):
        hpcsearch.report(step=step)
    return 1.0

def asks(config):
    step = 0
    hpcsearch.report(step=step)
    while not hpcsearch.should_stop():
        time.sleep(0.005)
        step += 1
    return step

def is_told(config):
    try:
        while True:
            try:
                hpcsearch.report(loss=1.0)
                time.sleep(0.005)
            except Exception:
                raise AssertionError("it was swallowed")
    finally:
        print("cleaned up", flush=True)

def deaf(config):
    hpcsearch.report(step=0)
    time.sleep(600)

def late_report(config):
    threading.Timer(0.1, lambda: hpcsearch.report(late=1)).start()
    return 1.0

def fork_and_exit(config):
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    return config["x"]

def fork_and_return(config):
    if os.fork() == 0:
        return -1.0
    os.wait()
    return config["x"]

def signpost(config):
    open(f"begun-{hpcsearch.evaluation().id}", "w").close()
    while not os.path.exists(config["wait_for"]):
        time.sleep(0.005)
    return 1.0

def flood(config):
    for _ in range(2000):
        os.write(1, b"x" * 4095 + b"\\n")
    os.write(2, b"the end\\n")
    return 1.0

def hush(config):
    if config["how"] == "closed":
        os.closerange(0, 3)
    elif config["how"] == "closed in Python":
        sys.stdout.close()
        sys.stderr.close()
    else:
        sys.stdout = sys.stderr = open(os.devnull, "w")
    os.umask(0o777)
    return 1.0

def speak(config):
    print("in Python")
    print("for errors", file=sys.stderr)
    os.system("cat; echo below")
    return {"objective": 1.0, "mask": os.umask(0o077)}

def large(config):
    return {"objective": 1.0, "curve": list(range(100_000))}

@hpcsearch.command
def program(config):
    return hpcsearch.Command(["/bin/sh", "-c", config["script"]], timeout=config.get("timeout"))

def run(config):
    what = config.get("what")
    if what is not None:
        return globals()[what](config)
    time.sleep(config.get("sleep_s", 0.0))
    return config.get("x", 1.0)
"""


class Node:
    """An agent, and all that it has told."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        with (folder / "agent.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hpcsearch.worker.agent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | (environment or {}),
                process_group=0,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._channel: Channel | None = Channel(
            os.dup(self.process.stdout.fileno()), os.dup(self.process.stdin.fileno())
        )
        self.process.stdin.close()
        self.process.stdout.close()
        self.events: list[list[Any]] = []

    # ---- orders

    def tell(self, **message: Any) -> None:
        assert self._channel is not None
        self._channel.send(message)
        assert self._channel.flush()

    def set_up(self, *, slots: int = 1, run: str = "model.py:run", **changes: Any) -> None:
        share = protocol.Share((min(os.sched_getaffinity(0)),), 1, (), True)
        orders = protocol.Setup(
            slots=[dataclasses.asdict(changes.pop("share", share)) for _ in range(slots)],
            run=run,
            names=[],
            cwd=str(self.folder),
            evaluations=str(self.folder / "evaluations"),
            time_left_s=changes.pop("time_left_s", 600.0),
            eval_timeout_s=changes.pop("eval_timeout_s", None),
            reuse=changes.pop("reuse", 0),
            gpu_variable="CUDA_VISIBLE_DEVICES",
            output_limit_bytes=changes.pop("output_limit_bytes", 1000),
            stop_raises=changes.pop("stop_raises", False),
            stop_margin_s=changes.pop("stop_margin_s", None),
        )
        assert not changes
        self.tell(op=protocol.SETUP, orders=dataclasses.asdict(orders))

    def run(self, *evaluations: tuple[int, dict[str, Any]], slot: int = 0, attempt: int = 1) -> None:
        self.tell(op=protocol.RUN, evaluations=[[identity, attempt, slot, c] for identity, c in evaluations])

    # ---- events

    def _receive(self, limit_s: float) -> bool:
        """Takes what comes within the limit; False when the agent has closed its output."""
        assert self._channel is not None
        if select.select([self._channel.read_fd], [], [], limit_s)[0]:
            try:
                for events in self._channel.receive():
                    self.events += events
            except ClosedError:
                return False
        return True

    def until(self, reached: Callable[[], bool]) -> None:
        end_s = time.monotonic() + LIMIT_S
        while not reached():
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"it did not come; what came: {self.events}\n{self.log()}"
            assert self._receive(left_s), f"the agent has gone; what came: {self.events}\n{self.log()}"

    def of(self, kind: str) -> list[list[Any]]:
        return [event for event in self.events if event[0] == kind]

    def wait_for(self, kind: str, count: int = 1) -> list[list[Any]]:
        self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def ends(self, count: int) -> list[End]:
        return [End(*event[1:]) for event in self.wait_for(protocol.ENDED, count)]

    def listen(self, for_s: float) -> None:
        end_s = time.monotonic() + for_s
        while (left_s := end_s - time.monotonic()) > 0:
            assert self._receive(left_s), self.log()

    # ---- the end

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def evaluation_log(self, identity: int) -> bytes:
        return (self.folder / "evaluations" / str(identity) / "log").read_bytes()

    def hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def below(self) -> list[int]:
        return descendants(self.process.pid)

    def wait_below(self, count: int) -> list[int]:
        """The processes below the agent, once there are so many."""
        end_s = time.monotonic() + LIMIT_S
        while len(below := self.below()) < count:
            assert time.monotonic() < end_s, f"there are {below} below the agent"
            time.sleep(0.005)
        return below

    def close(self) -> None:
        self.hang_up()
        try:
            self.process.wait(5.0)
        finally:
            self.process.kill()
            self.process.wait()


@dataclasses.dataclass
class End:
    id: int
    attempt: int
    slot: int
    state: str
    started_at: float
    ended_at: float
    duration_s: float
    objective: float | None
    metadata: dict[str, Any] | None
    failure: dict[str, str] | None
    killed_by: int | None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    (tmp_path / "model.py").write_text(MODEL)
    nodes: list[Node] = []

    def make(environment: dict[str, str] | None = None) -> Node:
        nodes.append(Node(tmp_path, environment))
        return nodes[-1]

    yield make
    for node in nodes:
        below = node.below()
        node.close()
        assert not any(alive(pid) for pid in below), "the agent left processes behind"
        assert "Traceback" not in node.log()


@pytest.fixture
def node(start: Callable[..., Node]) -> Node:
    return start()


def all_gone(pids: Sequence[int]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end_s, f"processes were left: {pids}"
        time.sleep(0.005)


# ---- a quiet life


def test_it_says_what_the_node_has(node: Node) -> None:
    (_, hello), *_ = node.wait_for(protocol.HELLO)
    assert node.events[0][0] == protocol.HELLO
    assert sorted(cpu for core in hello["cores"] for cpu in core) == sorted(os.sched_getaffinity(0))
    assert hello["pid"] == node.process.pid and hello["host"] == os.uname().nodename
    assert hello["python"] == sys.version.split()[0] and hello["memory_mb"] > 100


def test_evaluations_run_one_after_the_other(node: Node) -> None:
    node.set_up(slots=2)
    node.run((1, {"x": 1.5}), (2, {"x": 2.5}))
    node.run((3, {"x": 3.5}), slot=1, attempt=2)
    ends = {end.id: end for end in node.ends(3)}
    assert {identity: (end.slot, end.attempt, end.state, end.objective) for identity, end in ends.items()} == {
        1: (0, 1, State.FINISHED, 1.5),
        2: (0, 1, State.FINISHED, 2.5),
        3: (1, 2, State.FINISHED, 3.5),
    }
    assert ends[1].ended_at <= ends[2].started_at
    assert {event[1] for event in node.of(protocol.READY)} == {0, 1}
    for identity, end in ends.items():
        begun = next(event for event in node.of(protocol.STARTED) if event[1] == identity)
        assert begun[2:4] == [end.attempt, end.slot]
        assert node.events.index(begun) < node.events.index([protocol.ENDED, *dataclasses.astuple(end)])


def test_a_failure_is_told_with_the_users_own_lines(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "no such function"}), (2, {}))
    failed, finished = node.ends(2)
    assert (failed.state, failed.objective, failed.killed_by) == (State.FAILED, None, None)
    assert failed.failure is not None and failed.failure["kind"] == "KeyError"
    assert "globals()" in failed.failure["traceback"] and "worker/slot.py" not in failed.failure["traceback"]
    assert finished.state == State.FINISHED


def test_what_an_evaluation_sees(start: Callable[..., Node], tmp_path: Path) -> None:
    node = start({"PMI_RANK": "3", "SLURM_JOB_ID": "12", "MINE": "1"})
    cpu = max(os.sched_getaffinity(0))
    node.set_up(share=protocol.Share((cpu,), 3, ("2", "5"), True), time_left_s=100.0, eval_timeout_s=30.0)
    node.run((7, {"what": "facts"}), attempt=3)
    (end,) = node.ends(1)
    facts = end.metadata
    assert facts is not None
    assert (facts["id"], facts["attempt"], facts["slot"]) == (7, 3, 0)
    assert facts["cwd"] == str(tmp_path) and facts["directory"] == str(tmp_path / "evaluations" / "7")
    assert facts["cpus"] == [cpu]
    assert 25.0 < facts["left"] <= 30.0
    assert facts["stdin"] == "" and facts["group"] is True and facts["oom"] == 800
    environment = facts["environment"]
    assert (
        environment.items()
        >= {
            "CUDA_VISIBLE_DEVICES": "2,5",
            "OMP_NUM_THREADS": "3",
            "HPCSEARCH_SLOT": "0",
            "HPCSEARCH_PMI_RANK": "3",
            "HPCSEARCH_SLURM_JOB_ID": "12",
            "MINE": "1",
        }.items()
    )
    assert not {"PMI_RANK", "SLURM_JOB_ID"} & environment.keys()


def test_a_slot_that_is_not_bound_has_the_whole_node(node: Node) -> None:
    node.set_up(share=protocol.Share((0,), 1, (), False))
    node.run((1, {"what": "facts"}))
    assert (node.ends(1)[0].metadata or {})["cpus"] == sorted(os.sched_getaffinity(0))


def test_a_slot_lives_on_and_what_was_spoilt_is_restored(node: Node, tmp_path: Path) -> None:
    node.set_up()
    node.run((1, {"what": "facts"}), (2, {"what": "spoil"}), (3, {"what": "facts"}))
    before, _, after = (end.metadata or {} for end in node.ends(3))
    assert before["pid"] == after["pid"]
    assert after["cwd"] == str(tmp_path)
    assert after["environment"] == before["environment"]


@pytest.mark.parametrize("how", ["closed", "closed in Python", "replaced"])
def test_one_that_closes_its_output_silences_no_other(node: Node, how: str) -> None:
    node.set_up()
    node.run((1, {"what": "speak"}), (2, {"what": "hush", "how": how}), (3, {"what": "speak"}))
    ends = node.ends(3)
    assert [end.state for end in ends] == [State.FINISHED] * 3, ends
    assert ends[2].metadata == ends[0].metadata
    assert node.evaluation_log(3) == node.evaluation_log(1) == b"in Python\nfor errors\nbelow\n"


def test_a_slot_is_replaced_after_as_many_as_it_may_do(node: Node) -> None:
    node.set_up(reuse=2)
    node.run(*((number, {"what": "facts"}) for number in range(1, 6)))
    pids = [(end.metadata or {})["pid"] for end in node.ends(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert [end.state for end in node.ends(5)] == [State.FINISHED] * 5


def test_reports_come_before_the_end(node: Node) -> None:
    node.set_up()
    node.run((4, {"what": "reports"}), attempt=2)
    node.ends(1)
    told = [(identity, attempt, step, metrics) for _, identity, attempt, step, _, metrics in node.of(protocol.REPORT)]
    assert told == [(4, 2, step, {"loss": 1.0 / (step + 1)}) for step in range(3)]
    assert node.events[-1][0] == protocol.ENDED


def test_threads_may_report_at_the_same_time(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "reports_from_threads"}))
    assert node.ends(1)[0].state == State.FINISHED
    told = [(event[5]["thread"], event[3]) for event in node.of(protocol.REPORT)]
    assert sorted(told) == [(thread, step) for thread in range(4) for step in range(300)]


def test_output_is_kept_head_and_tail_and_never_touches_the_protocol(node: Node) -> None:
    node.set_up(slots=2, output_limit_bytes=1000)
    node.run((1, {"what": "flood"}))
    node.run((2, {"what": "flood"}), slot=1)
    assert all(end.state == State.FINISHED for end in node.ends(2))
    for identity in (1, 2):
        log = node.evaluation_log(identity)
        assert log.startswith(b"x" * 500 + b"\n[... 8191008 bytes left out ...]\n") and log.endswith(b"x\nthe end\n")


def test_a_large_result_arrives_whole_also_from_a_process_that_ends_then(node: Node) -> None:
    node.set_up(reuse=1)
    node.run((1, {"what": "large"}), (2, {"what": "large"}))
    for end in node.ends(2):
        assert end.metadata == {"curve": list(range(100_000))}


def test_no_report_of_many_is_lost(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "reports_many"}))
    node.ends(1)
    assert [event[3] for event in node.of(protocol.REPORT)] == list(range(20_000))


def test_the_last_reports_of_one_that_is_killed_arrive(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "reports_and_dies"}))
    (end,) = node.ends(1)
    assert end.failure is not None and end.failure["kind"] == "SIGKILL"
    assert [event[3] for event in node.of(protocol.REPORT)] == list(range(5))
    assert node.events.index(node.of(protocol.REPORT)[-1]) < node.events.index(node.of(protocol.ENDED)[0])


def test_reports_of_those_that_follow_at_once_are_told_apart(node: Node) -> None:
    node.set_up()
    node.run(*((identity, {"what": "reports"}) for identity in range(1, 31)))
    node.ends(30)
    told = [(event[1], event[3]) for event in node.of(protocol.REPORT)]
    assert told == [(identity, step) for identity in range(1, 31) for step in range(3)]


# ---- the end of an evaluation that looks for it


def test_one_that_asks_is_stopped_and_no_other(node: Node) -> None:
    node.set_up(slots=2)
    node.run((1, {"what": "asks"}))
    node.run((2, {"what": "asks"}), slot=1)
    node.wait_for(protocol.REPORT, 2)
    node.tell(op=protocol.STOP, evaluations=[1], state=State.STOPPED)
    (end,) = node.ends(1)
    assert (end.id, end.state, end.failure) == (1, State.STOPPED, None) and end.objective is not None
    node.run((3, {"what": "asks"}))  # in the slot whose last one was stopped
    node.wait_for(protocol.REPORT, 3)
    node.tell(op=protocol.STOP, evaluations=[2, 3], state=State.STOPPED)
    assert {end.id: end.state for end in node.ends(3)} == dict.fromkeys((1, 2, 3), State.STOPPED)


def test_one_that_is_told_by_its_report_is_stopped_through_its_own_handlers(node: Node) -> None:
    node.set_up(stop_raises=True)
    node.run((1, {"what": "is_told"}))
    node.wait_for(protocol.REPORT)
    node.tell(op=protocol.STOP, evaluations=[1], state=State.STOPPED)
    (end,) = node.ends(1)
    assert end.state == State.STOPPED and end.failure is not None and end.failure["kind"] == "Stopped"
    assert node.evaluation_log(1) == b"cleaned up\n"


def test_one_that_does_not_look_is_killed(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "deaf"}))
    node.wait_for(protocol.REPORT)
    node.tell(op=protocol.STOP, evaluations=[1], state=State.STOPPED)
    node.tell(op=protocol.KILL, evaluations=[1], state=State.STOPPED)
    (end,) = node.ends(1)
    assert (end.state, end.objective, end.killed_by) == (State.STOPPED, None, None)
    node.run((2, {"x": 2.0}))
    assert node.ends(2)[1].objective == 2.0


def test_time_that_ends_is_told_before(node: Node) -> None:
    node.set_up(eval_timeout_s=60.0, stop_margin_s=59.9)
    node.run((1, {"what": "asks"}))
    (end,) = node.ends(1)
    assert end.state == State.FINISHED, "it returned what it had"


# ---- orders in between


def test_what_waits_behind_a_long_one_is_taken_back(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "nap_forever"}), (2, {}), (3, {}), (4, {"x": 4.0}))
    node.wait_for(protocol.STARTED)
    node.tell(op=protocol.RECALL, evaluations=[1, 2, 3, 77])
    assert node.wait_for(protocol.RECALLED, 2) == [[protocol.RECALLED, 2], [protocol.RECALLED, 3]]
    node.tell(op=protocol.KILL, evaluations=[1], state=State.CANCELLED.value)
    first, last = node.ends(2)
    assert (first.id, first.state, last.id, last.objective) == (1, State.CANCELLED, 4, 4.0)
    assert len(node.of(protocol.RECALLED)) == 2


def test_a_kill_ends_what_runs_and_takes_back_what_waits(node: Node) -> None:
    node.set_up(slots=2)
    node.run((1, {"what": "daemon"}), (2, {}))
    node.run((3, {"sleep_s": 0.3}), slot=1)
    node.wait_for(protocol.STARTED, 2)
    node.wait_below(3)
    node.tell(op=protocol.KILL, evaluations=[1, 2], state=State.INTERRUPTED.value)
    ends = {end.id: end for end in node.ends(2)}
    assert (ends[1].state, ends[1].failure, ends[1].killed_by) == (State.INTERRUPTED, None, None)
    assert ends[1].duration_s == pytest.approx(ends[1].ended_at - ends[1].started_at)
    assert node.of(protocol.RECALLED) == [[protocol.RECALLED, 2]]
    assert ends[3].state == State.FINISHED  # its slot was not meant
    node.run((5, {"x": 5.0}))
    assert node.ends(3)[-1].objective == 5.0


def test_a_kill_that_comes_too_late_does_not_end_another(node: Node) -> None:
    node.set_up()
    node.run(
        (1, {"what": "signpost", "wait_for": "go"}), (2, {"what": "signpost", "wait_for": "never"}), (3, {"x": 3.0})
    )
    node.wait_for(protocol.STARTED)
    node.process.send_signal(signal.SIGSTOP)  # meanwhile the slot goes on to the second one
    os.waitid(os.P_PID, node.process.pid, os.WSTOPPED)
    node.tell(op=protocol.KILL, evaluations=[1], state=State.CANCELLED.value)
    (node.folder / "go").touch()
    end_s = time.monotonic() + LIMIT_S
    while not (node.folder / "begun-2").exists() and time.monotonic() < end_s:
        time.sleep(0.005)
    node.process.send_signal(signal.SIGCONT)
    node.until(lambda: [event[1] for event in node.of(protocol.STARTED)] == [1, 2])
    node.tell(op=protocol.KILL, evaluations=[2], state=State.CANCELLED.value)
    ends = node.ends(3)
    assert [(end.id, end.state) for end in ends] == [(1, State.FINISHED), (2, State.CANCELLED), (3, State.FINISHED)]


def test_unknown_evaluations_are_passed_over(node: Node) -> None:
    node.set_up()
    node.tell(op=protocol.RECALL, evaluations=[9])
    node.tell(op=protocol.KILL, evaluations=[9], state=State.CANCELLED.value)
    node.run((1, {}))
    assert node.ends(1)[0].state == State.FINISHED


def test_an_exit_ends_everything(node: Node) -> None:
    node.set_up(slots=2)
    node.run((1, {"what": "daemon"}))
    node.run((2, {"what": "nap_forever"}), slot=1)
    node.wait_for(protocol.STARTED, 2)
    below = node.wait_below(3)
    node.tell(op=protocol.EXIT)
    assert node.process.wait(LIMIT_S) == 0
    all_gone(below)


def test_the_end_of_its_input_ends_everything(node: Node) -> None:
    node.set_up(slots=2)
    node.run((1, {"what": "daemon"}))
    node.run((2, {"what": "nap_forever"}), slot=1)
    node.wait_for(protocol.STARTED, 2)
    below = node.wait_below(3)
    node.hang_up()
    assert node.process.wait(LIMIT_S) == 0
    all_gone(below)


def test_slots_end_with_an_agent_that_is_killed(node: Node) -> None:
    node.set_up(slots=2)
    node.wait_for(protocol.READY, 2)
    below = node.below()
    assert len(below) == 2
    node.process.kill()
    all_gone(below)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_somebody_else_wants_the_node_to_end(node: Node, number: signal.Signals) -> None:
    node.set_up()
    node.run((1, {"sleep_s": 0.2}))
    node.wait_for(protocol.STARTED)
    node.process.send_signal(number)
    assert node.wait_for(protocol.TERMINATING) == [[protocol.TERMINATING]]
    assert node.ends(1)[0].state == State.FINISHED  # the driver decides


def test_an_interrupt_from_the_terminal_is_the_drivers(node: Node) -> None:
    node.set_up()
    node.run((1, {"sleep_s": 0.2}))
    node.wait_for(protocol.STARTED)
    node.process.send_signal(signal.SIGINT)
    assert node.ends(1)[0].state == State.FINISHED
    assert not node.of(protocol.TERMINATING)


# ---- slots that die


@pytest.mark.parametrize("then", ["crash", "return"])
def test_what_a_dead_slot_has_started_dies_too(node: Node, then: str) -> None:
    node.set_up(reuse=1)
    node.run((1, {"what": "daemon", "then": then}))
    (end,) = node.ends(1)
    if then == "crash":
        assert end.state == State.FAILED and end.killed_by == signal.SIGSEGV
        assert end.failure is not None and end.failure["kind"] == "SIGSEGV"
    node.wait_for(protocol.READY, 2)  # the slot was replaced
    all_gone([pid for pid in node.below() if b"time.sleep(600)" in Path(f"/proc/{pid}/cmdline").read_bytes()])
    node.run((2, {"x": 2.0}))
    assert node.ends(2)[-1].objective == 2.0


def test_a_death_takes_its_own_evaluation_alone(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "nap_forever"}), (2, {"x": 2.0}), (3, {"x": 3.0}))
    node.wait_for(protocol.STARTED)
    (slot,) = node.below()
    os.kill(slot, signal.SIGKILL)
    ends = node.ends(3)
    assert [(end.id, end.state) for end in ends] == [
        (1, State.FAILED),
        (2, State.FINISHED),
        (3, State.FINISHED),
    ]
    assert ends[0].killed_by == signal.SIGKILL and ends[1].killed_by is None
    assert node.evaluation_log(1) == b"asleep\n"


def test_a_time_limit_ends_the_whole_tree(node: Node) -> None:
    node.set_up(eval_timeout_s=0.3)
    node.run((1, {"what": "daemon"}), (2, {"x": 2.0}), (3, {"what": "nap_forever"}))
    below = node.wait_below(2)
    first, second, third = node.ends(3)
    assert [first.state, second.state, third.state] == [State.TIMED_OUT, State.FINISHED, State.TIMED_OUT]
    assert first.failure is not None and "0.3 s" in first.failure["message"]
    assert 0.3 <= first.duration_s < 3.0 and first.killed_by is None
    all_gone(below)


def test_a_run_function_that_cannot_be_loaded(node: Node) -> None:
    (node.folder / "broken.py").write_text("import nowhere_to_be_found\n")
    node.set_up(slots=2, run="broken.py:run")
    told = {event[1]: event[2] for event in node.wait_for(protocol.UNLOADABLE, 2)}
    assert told.keys() == {0, 1}
    assert told[0]["kind"] == "LoadError" and "nowhere_to_be_found" in told[0]["message"]
    node.listen(0.1)
    assert len(node.of(protocol.UNLOADABLE)) == 2 and not node.of(protocol.READY)
    assert node.below() == []


def test_a_run_function_that_kills_its_process_while_loading(node: Node) -> None:
    (node.folder / "deadly.py").write_text("import os\nos.write(2, b'loading\\n')\nos._exit(3)\n")
    node.set_up(run="deadly.py:run")
    (_, slot, failure), *_ = node.wait_for(protocol.UNLOADABLE)
    assert slot == 0 and "exit code 3" in failure["message"]
    node.listen(0.1)
    assert len(node.of(protocol.UNLOADABLE)) == 1


def test_early_deaths_count_in_a_row(node: Node) -> None:
    # Every second process dies while it loads: that is no reason to give the slot up.
    (node.folder / "flaky.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "count = len(list(Path('.').glob('load-*')))\nPath(f'load-{count}').touch()\n"
        "if count % 2 == 0:\n    os._exit(1)\n"
        "def run(config):\n    return 1.0\n"
    )
    node.set_up(run="flaky.py:run", reuse=1)
    node.run(*((number, {}) for number in range(1, 6)))
    assert [end.state for end in node.ends(5)] == [State.FINISHED] * 5
    assert not node.of(protocol.UNLOADABLE)


# ---- run functions that do odd things


def test_a_report_after_the_end_is_nobodys(node: Node) -> None:
    node.set_up()
    node.run((1, {"what": "late_report"}))
    node.ends(1)
    node.listen(0.3)
    assert not node.of(protocol.REPORT)


@pytest.mark.parametrize("what", ["fork_and_exit", "fork_and_return"])
def test_a_forked_child_that_comes_back_is_no_second_slot(node: Node, what: str) -> None:
    node.set_up()
    node.run((1, {"what": what, "x": 1.0}), (2, {"x": 2.0}))
    assert [(end.id, end.state, end.objective) for end in node.ends(2)] == [
        (1, State.FINISHED, 1.0),
        (2, State.FINISHED, 2.0),
    ]
    assert len(node.of(protocol.STARTED)) == 2


def test_a_log_that_cannot_be_written_ends_nothing(node: Node) -> None:
    (node.folder / "evaluations" / "1" / "log").mkdir(parents=True)
    node.set_up()
    node.run((1, {"what": "flood"}), (2, {"x": 2.0}))
    assert [end.state for end in node.ends(2)] == [State.FINISHED] * 2


def test_it_beats_when_it_has_nothing_to_say(tmp_path: Path) -> None:
    code = "from hpcsearch.worker import agent, protocol; protocol.BEAT_S = 0.05; agent.main()"
    beating = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert beating.stdin is not None and beating.stdout is not None
    lines = [beating.stdout.readline() for _ in range(4)]
    assert lines[1:] == [b'[["beat"]]\n'] * 3
    beating.stdin.close()
    assert beating.wait(LIMIT_S) == 0
    beating.stdout.close()


# ---- evaluations that are programs


def test_a_programs_output_is_the_evaluations_log_and_its_last_number_the_objective(node: Node) -> None:
    node.set_up(run="model.py:program")
    node.run((1, {"script": "echo to out; echo to err >&2; echo fitness: -0.5; echo DH-OUTPUT: -0.25"}))
    node.run((2, {"script": 'echo $HPCSEARCH_CONFIG; echo \'{"objective": 2, "k": 1}\' > $HPCSEARCH_RESULT; pwd'}))
    first, second = node.ends(2)
    assert (first.state, first.objective, second.objective, second.metadata) == (State.FINISHED, -0.25, 2.0, {"k": 1})
    assert sorted(node.evaluation_log(1).splitlines()) == [b"DH-OUTPUT: -0.25", b"fitness: -0.5", b"to err", b"to out"]
    told, where = node.evaluation_log(2).splitlines()
    assert b"HPCSEARCH_RESULT" in told and where == os.fsencode(node.folder / "evaluations" / "2")


def test_a_program_that_fails_says_how(node: Node) -> None:
    node.set_up(run="model.py:program")
    node.run((1, {"script": "echo fitness: 1; echo no such mesh >&2; exit 3"}), (2, {"script": "kill -SEGV $$"}))
    node.run((3, {"script": "sleep 600 & echo $! > sleeper; wait", "timeout": 0.2}), (4, {"script": "true"}))
    ends = node.ends(4)
    assert [end.state for end in ends] == [State.FAILED, State.FAILED, State.TIMED_OUT, State.FAILED]
    failures = [end.failure["message"] if end.failure else "" for end in ends]
    assert failures == [
        "sh ended with exit code 3: no such mesh",
        "sh was killed by signal 11 (SIGSEGV)",
        "sh ran longer than its time limit of 0.2 s",
        "sh ended well but gave no objective",
    ]
    all_gone([int((node.folder / "evaluations/3/sleeper").read_text())])


@pytest.mark.parametrize("state", [State.TIMED_OUT, State.CANCELLED])
def test_a_program_ends_with_its_evaluation(node: Node, state: State) -> None:
    script = "sleep 600 & setsid sleep 600 & echo there > there; wait"
    node.set_up(run="model.py:program", eval_timeout_s=1.0 if state is State.TIMED_OUT else None)
    node.run((1, {"script": script}))
    programs = node.wait_below(4)
    if state is State.CANCELLED:
        node.tell(op=protocol.KILL, evaluations=[1], state=State.CANCELLED.value)
    (end,) = node.ends(1)
    assert end.state == state
    all_gone([pid for pid in programs if pid not in node.below()])
    node.run((2, {"script": "echo fitness: 1"}))
    assert node.ends(2)[1].objective == 1.0
    assert len(node.below()) == 1


def test_nothing_that_a_program_started_outlives_it(node: Node) -> None:
    node.set_up(run="model.py:program")
    node.run((1, {"script": "setsid sleep 600 & sleep 600 & echo $! > sleeper; echo fitness: 1"}))
    assert node.ends(1)[0].objective == 1.0  # and did not wait for those who hold its output open
    assert len(node.below()) == 1
    all_gone([int((node.folder / "evaluations/1/sleeper").read_text())])


def test_a_function_that_fails_before_its_program_runs_has_a_traceback(node: Node) -> None:
    node.set_up(run="model.py:program")
    node.run((1, {}))
    (end,) = node.ends(1)
    assert end.failure is not None and end.failure["kind"] == "KeyError" and "model.py" in end.failure["traceback"]
