"""What the ends of evaluations mean: a table by the kind of error that was recorded, and by the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcsearch.evaluation import State


@dataclass(frozen=True)
class Cause:
    """What one kind of error means; the sentence may name ``message``, ``kind`` and ``where`` (the user's frame)."""

    sentence: str
    todo: str = ""


_LOG = "See what it printed with 'hpcsearch logs {workflow} {id}'."
_ASK = (
    "Let it ask for less, or resume with more: 'hpcsearch resume {workflow}' with other --nodes, --nodes-per-eval or "
    "--evals-per-node."
)
_CRASH = Cause(
    "Its process crashed: {message}, which is a fault in compiled code (a library, an extension) and no Python error.",
    "Set PYTHONFAULTHANDLER=1 where you submit to get a traceback of such crashes in its log. " + _LOG,
)
_MEMORY = "Run fewer evaluations on a node at once (resume with a smaller --evals-per-node), or let each use less."
_TOLD = Cause(
    "Its process was ended from outside: {message}, and the allocation went on.",
    "Look for what sends signals: the run function's own children, a script that kills by name, or an administrator. "
    + _LOG,
)

#: Kind of error -> what it means. Exceptions that are not here were raised by the run function: ``_RAISED``.
CAUSES: Mapping[str, Cause] = {
    "Timeout": Cause(
        "It took too long: {message}.",
        "Give more time with 'hpcsearch resume {workflow} --eval-timeout SECONDS', or let it stop earlier.",
    ),
    "NodeLost": Cause(
        "Its node went away while it ran: {message}.",
        "Nothing is wrong with the evaluation. 'hpcsearch status {workflow} --nodes' has the nodes; where the same one "
        "is lost again and again, tell the machine's administrators.",
    ),
    "SlotEnded": Cause(
        "It was cut off for no fault of its own: {message}.",
        "Look at the evaluation that ran before it in the same slot.",
    ),
    "OutOfMemory": Cause("The node ran out of memory: {message}.", _MEMORY),
    "MemoryError": Cause("There was not enough memory for it: MemoryError{where}.", _MEMORY),
    "OutOfMemoryError": Cause(
        "Its GPU ran out of memory: {message}{where}.",
        "Let it use less (a smaller batch), or give each evaluation a whole GPU with a smaller --evals-per-node.",
    ),
    "SIGKILL": Cause(
        "Its process was killed: {message}, and the node's kernel has not said that memory was short.",
        "Often a limit on memory of its own (a container, a cgroup) is behind it. " + _MEMORY,
    ),
    "SIGTERM": _TOLD,
    "SIGINT": _TOLD,
    "SIGHUP": _TOLD,
    "SIGSEGV": _CRASH,
    "SIGBUS": _CRASH,
    "SIGFPE": _CRASH,
    "SIGABRT": _CRASH,
    "SIGILL": Cause(
        "Its process came to an instruction that its node's processor does not have: {message}.",
        "Some library was built for another kind of processor than that of the compute nodes: install it there, or "
        "from a build for all.",
    ),
    "SIGXCPU": Cause(
        "Its process used more CPU time than allowed: {message}.", "See 'ulimit -t' in the allocation's job script."
    ),
    "SIGXFSZ": Cause(
        "Its process wrote a file larger than allowed: {message}.", "See 'ulimit -f' in the allocation's job script."
    ),
    "ProcessExit": Cause(
        "Its process ended by itself: {message}.",
        "Something in it calls os._exit, or a library ends the process on an error, as MPI_Abort does. " + _LOG,
    ),
    "SystemExit": Cause(
        "It left the run function without a result: {message}{where}.",
        "Return the objective instead, or raise an exception.",
    ),
    "BadResultError": Cause(
        "What it returned is no objective: {message}.",
        "Return a finite number, or a dict with the number under 'objective'. For configurations that are no good "
        "raise an exception: the search learns from that, too.",
    ),
    "Stopped": Cause("It was ended early, which is no failure: {message}."),
    "ProgramError": Cause("The program did not do its work: {message}.", _LOG),
    "ProgramTimeout": Cause("It took too long: {message}.", "Raise the command's own time limit. " + _LOG),
    "LaunchError": Cause(
        "Its processes could not be started: {message}.",
        "Try the launcher on one node with 'hpcsearch doctor'; the site file's [launcher] says which one is used. "
        + _LOG,
    ),
    "LaunchLost": Cause(
        "It was cut off for no fault of its own: {message}.",
        "See 'hpcsearch logs {workflow}' for why that process ended; often the first node was short of memory.",
    ),
    "RankMissing": Cause(
        "Some of its processes did not begin: {message}.",
        "See the nodes with 'hpcsearch status {workflow} --nodes', and whether their first imports take minutes. "
        + _LOG,
    ),
    "WorldSizeError": Cause(
        "Its processes have not found each other: {message}.",
        "The library was built for another way of starting them; 'hpcsearch doctor' tells what it was built with.",
    ),
    "MpiInitError": Cause(
        "Its processes have not found each other: {message}.",
        "Try launcher and library on the nodes with 'hpcsearch doctor --on-compute'.",
    ),
    "RendezvousError": Cause("Its processes had no place to meet: {message}.", _LOG),
    "AddressError": Cause(
        "Its processes cannot reach each other: {message}.", "Tell the machine's administrators: a node has no address."
    ),
    "TooManyRanks": Cause("It asks for more processes than fit: {message}.", _ASK),
    "NoRoom": Cause("No node can hold it: {message}.", _ASK),
    "NoResources": Cause(
        "What it needs is not known: {message}.",
        "Look at what the function that is decorated with hpcsearch.resources does with this configuration: "
        "'hpcsearch show {workflow} {id}'.",
    ),
    "ImportError": Cause(
        "Something cannot be imported where it ran: {message}{where}.",
        "Install it into the environment that the allocation uses, with the modules loaded that it needs there.",
    ),
    "ModuleNotFoundError": Cause(
        "Something is not installed where it ran: {message}{where}.",
        "Install it into the environment that the allocation uses; 'hpcsearch doctor' shows which that is.",
    ),
    "FileNotFoundError": Cause(
        "A file is not there: {message}{where}.",
        "Evaluations run in the folder of the submission; give whole paths, on a file system that the nodes see.",
    ),
    "PermissionError": Cause(
        "A file may not be used: {message}{where}.", "Check its permissions, and that the nodes see the same files."
    ),
}
_SIGNAL = Cause("Its process was ended by a signal: {message}.", _LOG)
_RAISED = Cause(
    "The run function raised {kind}: {message}{where}.",
    "'hpcsearch show {workflow} {id}' has its configuration and the whole traceback; what is mended is tried with "
    "'hpcsearch resume {workflow}'.",
)
UNTOLD = Cause("It ended as {state}, and nothing was recorded of why.", _LOG)

_STOPPED = Cause("A stopping rule ended it early: what it reported was not promising.")
_INTERRUPTED = Cause(
    "The allocation ended while it ran: it was cut off, which is no failure and does not count as a try.",
    "It runs again with the next allocation: 'hpcsearch resume {workflow}'. A run function that keeps checkpoints goes "
    "on from them with --resumable.",
)
#: Ends that need no error.
_BY_STATE: Mapping[State, Cause] = {State.STOPPED: _STOPPED, State.INTERRUPTED: _INTERRUPTED}


def cause_of(state: State, kind: str | None) -> Cause:
    """What an attempt's end means."""
    if kind is None:
        return _BY_STATE.get(state, UNTOLD)
    if kind not in CAUSES and kind.startswith(("SIG", "signal ")):
        return _SIGNAL
    return CAUSES.get(kind, _RAISED)
