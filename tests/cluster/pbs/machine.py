"""A head and its nodes on this machine, each with namespaces of its own, and the processes there.

The head is the first process of a PID namespace: when it is killed, or when who started it ends, all that ever ran
here is gone at once. A node is a PID namespace inside of it, with its own network, host name and process numbers; its
death is the death of all its processes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pbs.state import SERVER

_NETWORK = "10.79.0"
_NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--uts", "--net")

#: The first process of a node: it names the host, leaves no zombies, and does nothing more.
_INIT = (
    "import os, signal, socket, sys; socket.sethostname(sys.argv[1]); signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    "os.execv('/bin/sleep', ['sleep', 'infinity'])"
)


class Machine:
    """The nodes, from ``bring_up`` on. For the head's first process alone: it takes note of all deaths."""

    def __init__(self) -> None:
        self._inits: dict[str, int] = {}  # node -> its first process
        self._outer: dict[int, str] = {}  # the process that waits for it -> node

    def bring_up(self, names: Sequence[str], hosts: Path) -> None:
        """Makes the network and the nodes; the file of their addresses is written to ``hosts``.

        Raises CalledProcessError or OSError where this machine does not permit it.
        """
        socket.sethostname(SERVER)
        addresses = {f"{_NETWORK}.1": SERVER, **{f"{_NETWORK}.{10 + n}": name for n, name in enumerate(names, 1)}}
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for address, name in addresses.items())]
        hosts.write_text("\n".join(lines) + "\n")
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        _ip(["link set lo up", "link add br0 type bridge", f"addr add {_NETWORK}.1/24 dev br0", "link set br0 up"])
        for number, name in enumerate(names, 1):
            self._node_up(name, number)

    def _node_up(self, name: str, number: int) -> None:
        python = [sys.executable, "-I", "-S", "-c", _INIT, name]
        pid = os.posix_spawnp("unshare", ["unshare", *_NAMESPACES, *python], os.environ)
        self._outer[pid] = name
        children = Path(f"/proc/{pid}/task/{pid}/children")
        while not (words := children.read_text().split()) or Path(f"/proc/{words[0]}/comm").read_text() != "sleep\n":
            time.sleep(0.005)
        init = self._inits[name] = int(words[0])
        _ip([f"link add ve{number} type veth peer name eth0 netns {init}", f"link set ve{number} master br0 up"])
        address = f"addr add {_NETWORK}.{10 + number}/24 dev eth0"
        _ip([address, "link set lo up", "link set eth0 up"], "nsenter", f"--target={init}", "--net")

    def namespace(self, node: str) -> int:
        """The number that tells a node's processes from all others."""
        return Path(f"/proc/{self._inits[node]}/ns/uts").stat().st_ino

    def crash(self, node: str) -> None:
        """Kills all that runs on a node; nothing happens when that was done before."""
        if node in self._inits:
            os.kill(self._inits.pop(node), signal.SIGKILL)

    def reap(self) -> tuple[list[str], dict[int, int]]:
        """The nodes that have died, and the sessions that have ended -> their wait status, since it was last asked."""
        ended: dict[int, int] = {}
        try:
            while (death := os.waitpid(-1, os.WNOHANG))[0]:
                ended[death[0]] = death[1]
        except ChildProcessError:
            pass
        return [self._outer[pid] for pid in ended if pid in self._outer], ended

    def start(self, node: str, argv: Sequence[str], environment: Mapping[str, str], streams: Sequence[int]) -> int:
        """Starts a session on a node or on the head, in the home folder; gives its leader.

        The leader stays outside of the node, and ends with what its child there ends with.
        """
        enter = []
        if node != SERVER:
            enter = ["nsenter", f"--target={self._inits[node]}", "--pid", "--uts", "--net", "--mount"]
        argv = [*enter, "/bin/sh", "-c", 'cd 2>/dev/null; exec "$@"', "task", *argv]
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                os.umask(0o077)
                for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
                    signal.signal(number, signal.SIG_DFL)
                for place, stream in enumerate(streams):
                    os.dup2(stream, place)
                os.execvpe(argv[0], argv, environment)
            finally:
                os._exit(254)
        for stream in streams:
            os.close(stream)
        return pid


def signal_sessions(sessions: Sequence[int], number: int) -> None:
    """Sends a signal to all that is left of some sessions but their leaders, which end with their children."""
    for entry in os.listdir("/proc") if any(sessions) else ():
        if entry.isdigit() and int(entry) not in sessions:
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) in sessions:
                    os.kill(int(entry), number)
            except (FileNotFoundError, ProcessLookupError):
                continue


def _ip(commands: Sequence[str], *prefix: str) -> None:
    subprocess.run([*prefix, "ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)
