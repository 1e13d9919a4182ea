"""A web application on a Unix socket, for the one user who can enter its folder.

A login node is shared, and these applications know no login: a TCP port, on the loopback address too, is open to
whoever is on the machine. A socket in a folder of mode 0700 is open to its owner alone; ssh carries it to their own
machine. The folder is a new one on a local file system: not every parallel file system has sockets, and the path of one
may not be longer than a hundred letters.
"""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpcsearch.errors import HpcsearchError, UsageError

#: A web application, as PEP 3333 has it.
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_SOCKET = "web"

#: As whom a browser addresses what comes through a tunnel. Others are pages elsewhere that try to get in by a name.
_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

_ENDS = (signal.SIGTERM, signal.SIGHUP)


def require(extra: str, *modules: str) -> None:
    """Raises UsageError unless what an extra of hpcsearch brings is installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"This needs {' and '.join(missing)}, not installed in this environment.",
            f"Type \"pip install 'hpcsearch[{extra}]'\".",
        )


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder for this user alone, gone afterwards.

    Raises:
        UsageError: there is no place for one.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="hpcsearch-"))  # of mode 0700
    except OSError as error:
        raise UsageError(
            f"No folder can be made in {tempfile.gettempdir()}: {error.strerror}.", "Set TMPDIR to another one."
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(
    application: Application,
    folder: Path,
    refresh: Callable[[], None],
    every_s: float,
    announce: Callable[[], None],
) -> None:
    """Serves an application on a socket in ``folder`` until Ctrl-C or the end of the session.

    Args:
        application: what is served.
        folder: one that only this user can enter.
        refresh: called again and again beside it, to bring the application up to date.
        every_s: how many seconds lie between two calls.
        announce: called when one can connect.

    Raises:
        UsageError: the path of the socket is too long.
    """
    import waitress

    path = socket_in(folder)
    try:
        server = waitress.create_server(for_tunnels(application), unix_socket=str(path), unix_socket_perms="600")
    except OSError as error:
        raise UsageError(f"There can be no socket at {path}: {error}.", "Set TMPDIR to a shorter path.") from None
    stop = threading.Event()
    keeper = threading.Thread(target=_keep_fresh, args=(refresh, every_s, stop), daemon=True)
    before = {number: signal.signal(number, _interrupt) for number in _ENDS}
    keeper.start()
    try:
        announce()
        server.run()  # returns after Ctrl-C
    except KeyboardInterrupt:  # or SIGTERM, or the end of the session, before it had begun
        pass
    finally:
        stop.set()
        server.close()
        for number, handler in before.items():
            signal.signal(number, handler)
        keeper.join()


def socket_in(folder: Path) -> Path:
    """Where the socket lies."""
    return folder / _SOCKET


def how_to_reach(folder: Path, port: int) -> str:
    """What is printed for whoever has to get there: two lines to type, and the address."""
    path, user = socket_in(folder), getpass.getuser()
    full = socket.getfqdn()
    host = socket.gethostname() if full == "localhost" else full
    return (
        f"On your own machine type:\n  ssh -N -L {port}:{path} {user}@{host}\n"
        f"and open http://localhost:{port} there. It ends here with Ctrl-C. Only {user} can connect."
    )


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _keep_fresh(refresh: Callable[[], None], every_s: float, stop: threading.Event) -> None:
    told = ""
    while not stop.wait(every_s):
        try:
            refresh()
            told = ""
        except HpcsearchError as error:  # a database that is busy now can be read the next time
            if error.message != told:
                print(f"Not brought up to date: {error.message}", flush=True)
            told = error.message


def for_tunnels(application: Application) -> Application:
    """The application, for requests alone that came through a tunnel of the user's.

    A page elsewhere that has the browser ask under its own name (DNS rebinding) is refused.
    """

    def checked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if host in _HOSTS:
            return application(environ, start_response)
        return refuse(start_response, "421 Misdirected Request", "Open it as http://localhost:PORT.")

    return checked


def read_only(application: Application) -> Application:
    """The application, for requests alone that read."""

    def checked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        return refuse(start_response, "405 Method Not Allowed", "This is a view: nothing can be changed in it.")

    return checked


def refuse(start_response: Callable[..., Any], status: str, reason: str) -> Iterable[bytes]:
    """Answers with a sentence."""
    start_response(status, [("Content-Type", "application/json")])
    return [f'{{"reason": "{reason}"}}'.encode()]
