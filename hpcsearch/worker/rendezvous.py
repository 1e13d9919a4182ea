"""Where the ranks of one evaluation meet: Horovod's own rendezvous server, in a process of its own.

``python -P -m hpcsearch.worker.rendezvous <descriptor> <hosts>``. The agent of the evaluation's first node starts it
with the descriptor of a socket that listens already, at one address of that node, so that ranks may come before it is
ready. ``hosts`` is ``[[name, ranks], ...]`` in JSON. It ends when its standard input does.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
import threading
from typing import Any


def rendezvous(listening: socket.socket, hosts: list[tuple[str, int]]) -> Any:
    """Horovod's server over a socket that listens already; it serves until ``shutdown``."""
    http_server: Any = importlib.import_module("horovod.runner.http.http_server")
    plans: Any = importlib.import_module("horovod.runner.common.util.hosts")
    server = http_server.RendezvousHTTPServer(("127.0.0.1", 0), http_server.RendezvousHandler, 0)
    server.server_close()  # its own socket; that of the agent is at the address that the ranks know
    server.socket = listening
    size = sum(ranks for _, ranks in hosts)
    server.init(plans.get_host_assignments([plans.HostInfo(name, ranks) for name, ranks in hosts], size, size))
    return server


def main(descriptor: str, hosts: str) -> None:
    """Serves until the agent hangs up."""
    server = rendezvous(socket.socket(fileno=int(descriptor)), json.loads(hosts))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
