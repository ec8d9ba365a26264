"""The socket that a server listens on: bound before anything else, a taken port costs nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from llmos.errors import UsageError


@contextmanager
def bound(host: str, port: int, backlog: int) -> Iterator[socket.socket]:
    """A listening socket; port 0 takes any. Raises `UsageError` where there can be none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(backlog)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}:{port} ({error.strerror or error}): choose another --port or "
            "--host"
        ) from error
    with listener:
        listener.set_inheritable(False)
        yield listener


def address_of(host: str, listener: socket.socket) -> str:
    """The URL under which a server on this machine is reached."""
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    if ":" in shown:
        shown = f"[{shown}]"
    return f"http://{shown}:{listener.getsockname()[1]}"
