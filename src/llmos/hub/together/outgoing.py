"""Requests to addresses that users gave: not to this machine, nor to the network that it stands in
(server-side request forgery, OWASP).

The name is resolved once, each of its addresses is checked, and the connection goes to a checked
address, so that a name that changes its address meanwhile opens nothing. No redirect is followed,
no proxy used, and the answer's body is thrown away.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from llmos.hub.errors import HubError, bad_request

TIMEOUT = 10.0  # seconds for one step: connecting, sending, waiting for the answer
DEADLINE = 30.0  # seconds for all
LONGEST = 2000
EMBEDDED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 within IPv6 (RFC 6052)


def checked_url(url: object) -> str:
    """An address that a request may be sent to, as far as its text tells. Raises `HubError` 400."""
    if not isinstance(url, str) or len(url) > LONGEST or not url.isascii():
        raise bad_request(f"The address must be ASCII text of at most {LONGEST} letters")
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise bad_request("The address must have no spaces or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise bad_request(f"The address cannot be read: {url[:100]}") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise bad_request(f"The address must begin with https:// or http://: {url[:100]}")
    if parts.username is not None or parts.password is not None:
        raise bad_request("The address must have no user name or password in it")
    return url


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if inner is None and ip in EMBEDDED:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    hidden = ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_reserved
    return ip.is_global and not hidden and not ip.is_multicast and not ip.is_unspecified


def resolved(host: str, port: int, *, private: bool) -> list[str]:
    """The IP addresses of a host. Raises `HubError` 400 unless all are public, or `private` ones
    are allowed; `OSError` when the name is not known."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not private:
        for address in addresses:
            if not is_public(address):
                raise HubError(400, f"{host} is in a private network: nothing is sent there")
    return addresses


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked; TLS is for the name all the same."""

    def __init__(self, host: str, port: int, addresses: list[str], secure: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT)
        self._addresses = addresses
        self._secure = secure

    def connect(self) -> None:
        failed: OSError | None = None
        for address in self._addresses:
            try:
                plain = socket.create_connection((address, self.port), timeout=TIMEOUT)
                break
            except OSError as error:
                failed = error
        else:
            raise failed or OSError("the host has no address")
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(plain, server_hostname=self.host)
        else:
            self.sock = plain

    def abort(self) -> None:
        """Cut the connection, from another thread: an answer that comes in drops never ends."""
        sock = self.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it has just been closed
                sock.shutdown(socket.SHUT_RDWR)


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool = False) -> int:
    """Send `body` and return the status of the answer. Raises `OSError` or
    `http.client.HTTPException` when none came, `HubError` 400 for an address that is refused."""
    parts = urlsplit(checked_url(url))
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    connection = _Pinned(host, port, resolved(host, port, private=private), secure)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    clock = threading.Timer(DEADLINE, connection.abort)
    clock.daemon = True
    clock.start()
    try:
        connection.request("POST", path, body, {**headers, "Connection": "close"})
        return connection.getresponse().status
    finally:
        clock.cancel()
        connection.close()
