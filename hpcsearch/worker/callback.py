"""The far end of ``hpcsearch.allocation.tm``, on another node of a PBS job: calls back, and becomes what it is told.

``python -I <this file> <port> <address>...``. The connection becomes the standard input and output of the command.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection

#: What PBS tells the processes of each node for itself.
_OWN_PREFIX, _OWN = "PBS_", "TMPDIR"


def main(port: int, addresses: Sequence[str]) -> None:
    """Never returns: this process becomes the command."""
    connection = _call(port, addresses, os.environ["PBS_JOBCOOKIE"].encode())
    orders = json.loads(connection.recv_bytes())
    own = {name: value for name, value in os.environ.items() if name.startswith(_OWN_PREFIX) or name == _OWN}
    with socket.socket(fileno=os.dup(connection.fileno())) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for standard in (0, 1):
        os.dup2(connection.fileno(), standard)
    os.execve(orders["argv"][0], orders["argv"], {**orders["environment"], **own})


def _call(port: int, addresses: Sequence[str], cookie: bytes) -> Connection:
    """The first of the addresses that knows the job's cookie."""
    refusals = []
    for address in addresses:
        try:
            return Client((address, port), authkey=cookie)
        except (OSError, EOFError, AuthenticationError) as error:
            refusals.append(f"{address}: {error}")
    raise SystemExit(f"hpcsearch: {socket.gethostname()} cannot reach the driver ({'; '.join(refusals)})")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
