"""Starts an agent on another node of a PBS job where there is no mpiexec, and carries the conversation with it.

PBS's task manager, behind ``pbs_tmrsh``, starts processes on a job's nodes, but passes on neither input nor output. So
what it starts there calls back, and proves by the job's cookie, which only the job's processes know, that it belongs to
it. ``python -P -m hpcsearch.allocation.tm <pbs_tmrsh> <node> <command>...``
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from hpcsearch.schedulers.pbs_nodes import node_file_hosts

#: PBS notices so soon (seconds) that a process has ended on another node.
_NOTICE_S = 5.0

_CALLBACK = Path(__file__).parents[1] / "worker" / "callback.py"


def main(tmrsh: str, node: str, command: Sequence[str]) -> int:
    """Gives the exit status of pbs_tmrsh, which is the command's."""
    cookie = os.environ.get("PBS_JOBCOOKIE", "").encode()
    if not cookie:
        raise SystemExit("hpcsearch: PBS gave this job no PBS_JOBCOOKIE; name an mpiexec in the site file's [launcher]")
    called = threading.Event()
    with Listener(("", 0), authkey=cookie) as listener:
        port: int = listener.address[1]
        # PBS gives the far Python the job's environment, which may lack what this one needs to begin.
        libraries = os.environ.get("LD_LIBRARY_PATH")
        needs = ["/usr/bin/env", f"LD_LIBRARY_PATH={libraries}"] if libraries else []
        far = [*needs, sys.executable, "-I", str(_CALLBACK), str(port), *_addresses()]
        process = subprocess.Popen([tmrsh, node, *far], stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
        waiting = threading.Thread(target=_await, args=(process, called), daemon=True)
        waiting.start()
        connection = _answer(listener)
    called.set()
    connection.send_bytes(json.dumps({"argv": list(command), "environment": dict(os.environ)}).encode())
    with socket.socket(fileno=os.dup(connection.fileno())) as stream:
        connection.close()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_carry_in, args=(stream,), daemon=True).start()
        _carry_out(stream)
    waiting.join(_NOTICE_S)
    return process.poll() or 0


def _addresses() -> list[str]:
    """The names by which other nodes may know this one: the job's first, and its own."""
    return list(dict.fromkeys([*node_file_hosts(os.environ)[:1], socket.gethostname()]))


def _await(process: subprocess.Popen[bytes], called: threading.Event) -> None:
    """Ends this process with pbs_tmrsh where that ends before anybody has called."""
    status = process.wait()
    if not called.is_set():
        os._exit(status or 1)


def _answer(listener: Listener) -> Connection:
    while True:
        try:
            connection: Connection = listener.accept()
            return connection
        except (AuthenticationError, EOFError, ConnectionError):
            continue  # a stranger


def _carry_in(stream: socket.socket) -> None:
    try:
        while data := os.read(0, 1 << 16):
            stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the end is noticed where the other side's words come from


def _carry_out(stream: socket.socket) -> None:
    try:
        with open(1, "wb", buffering=0, closefd=False) as out:
            while data := stream.recv(1 << 16):
                while data:
                    data = data[out.write(data) :]
    except OSError:
        return  # the far node, or the driver, has gone


if __name__ == "__main__":
    # Threads that wait for the driver's words do not keep this process
    code = main(sys.argv[1], sys.argv[2], sys.argv[3:])
    os._exit(code if 0 <= code < 256 else 1)
