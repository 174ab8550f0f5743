"""Where users reach an agent: its loopback port (or TLS, elsewhere), and the site's own socket for the operator."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from intertie.agent.round import Rounds
from intertie.api import server as api_server
from intertie.api.server import Server
from intertie.federation.peer_server import listen
from intertie.model.bodies import Address
from intertie.model.errors import Conflict, IntertieError, Refused
from intertie.site_file import SiteFile

TURN = 0.05
"""Seconds between tries to take the operator's socket over."""


def own_address() -> Address:
    """The address from which this machine would reach others; a UDP socket's connect sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return IPv4Address(probe.getsockname()[0])
        except OSError:
            return IPv4Address("127.0.0.1")


def server(app: ASGIApp, site: SiteFile | None = None) -> Server:
    """With `site`, over TLS if its settings say so; without, in clear (the site's own socket)."""
    if site is None:
        return api_server.server(app)
    return api_server.server(app, certificate=site.tls_certificate, key=site.tls_key)


def port_options(site: SiteFile) -> tuple[int, ...]:
    """How the site's ports are opened: several agents that share a store share them, too."""
    return (socket.SO_REUSEADDR, socket.SO_REUSEPORT) if site.store else (socket.SO_REUSEADDR,)


def open_port(address: Address, port: int, what: str, options: tuple[int, ...]) -> socket.socket:
    """A listening socket. Conflict, saying for what, if the port is taken or the address is not this machine's."""
    try:
        return listen(address, port, options)
    except OSError as error:
        raise Conflict(
            f"cannot listen on {address} port {port} for the {what}: {error.strerror}",
            code="in-use",
            hint="does another agent run? is `underlay` an address of this machine?",
        ) from error


def user_socket(site: SiteFile, fd: int | None) -> socket.socket:
    """The socket of the user API: handed over as `fd`, or opened as site.toml says."""
    if fd is not None:
        return socket.socket(fileno=fd)
    host, _, port = site.listen_users.rpartition(":")
    address = ip_address(host.strip("[]"))
    if not address.is_loopback and not (site.tls_certificate and site.tls_key):
        raise Refused(
            f"listen_users: {address} is no loopback address, and tokens travel elsewhere only over TLS",
            hint="set tls_certificate and tls_key in site.toml, or listen on 127.0.0.1",
        )
    return open_port(address, int(port), "user API (listen_users in site.toml)", port_options(site))


async def operator_turn(dir: Path, server: Server) -> bool:
    """Waits until no other agent of this directory has the operator's socket, and holds it until this process ends.
    False: the server was told to stop meanwhile."""
    file = os.open(dir / "api.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while not server.should_exit:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            await asyncio.sleep(TURN)
    os.close(file)
    return False


async def serve_operator(dir: Path, server: Server) -> None:
    """The operator's socket, one agent of a directory at a time; the next one has it as soon as that one is gone."""
    if await operator_turn(dir, server):
        await server.serve(sockets=[operator_socket(dir)])


class Current:
    """Before a request is answered, what other agents of the site have written is known here too: who was told
    something by one of them finds it at every other. Before a change, also what the leader made of the cloud. Without
    the store, what was known last."""

    PATIENCE = 2.0

    def __init__(self, app: ASGIApp, rounds: Rounds) -> None:
        self._app = app
        self._rounds = rounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        agent = self._rounds.agent
        if scope["type"] == "http" and not agent.cut_off:
            with suppress(IntertieError, TimeoutError):
                async with asyncio.timeout(self.PATIENCE):
                    await agent.catch_up()
                    if scope["method"] not in ("GET", "HEAD") and not agent.leads:
                        await self._rounds.look()
        await self._app(scope, receive, send)


class Looking:
    """Before a change, the cloud is looked at: beside OpenStack others give out addresses, and who cuts a network's
    addresses must know which are in use now. While the cloud is silent: what was seen last."""

    PATIENCE = 10.0

    def __init__(self, app: ASGIApp, look: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._look = look

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            with suppress(IntertieError, TimeoutError):
                async with asyncio.timeout(self.PATIENCE):
                    await self._look()
        await self._app(scope, receive, send)


def tell_supervisor(word: str) -> None:
    """`READY=1` or `STOPPING=1` to the service manager that asked to hear it (sd_notify(3)), if one did."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # "@" stands for the null octet of an abstract address.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.sendto(word.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def operator_socket(dir: Path) -> socket.socket:
    """DIR/api.sock, which only the owner of the directory may open."""
    path = dir / "api.sock"
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        # A path through /proc: a socket's address has room for 107 characters, directories are longer.
        directory = os.open(dir, os.O_PATH | os.O_DIRECTORY)
        try:
            sock.bind(f"/proc/self/fd/{directory}/api.sock")
        finally:
            os.close(directory)
    finally:
        os.umask(before)
    sock.listen(64)
    return sock
