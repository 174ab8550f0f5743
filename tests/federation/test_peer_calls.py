"""The life of connections: warm, held open, stale, renewed; and that no call is ever delivered twice."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from intertie.federation.peer_door import Limits
from intertie.federation.transport import Caller
from intertie.model.errors import Forbidden, IntertieError, Refused, Unavailable
from intertie.model.storage import StorageError
from tests.federation.peer_lab import Site, impostor, pair, serving, serving_as


class Held:
    """A handler that answers `hold…` when told to, and anything else at once."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, _: Caller | None, body: bytes) -> bytes:
        if body.startswith(b"hold"):
            self.started.set()
            await self.let_go.wait()
        return b"reply to " + body


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:
    async with pair(tmp_path) as both:
        yield both


def door(site: Site) -> int:
    """How many connections nantes holds to the site, as the site sees it."""
    return len(site.transport._server.door.of("nantes"))


def socket_of(site: Site, caller: str) -> socket.socket:
    """The site's own end of the caller's only connection (a duplicate: close it)."""
    (guest,) = site.transport._server.door.of(caller)
    found = guest.abort.__self__._writer.get_extra_info("socket")  # type: ignore[attr-defined]
    return socket.socket(fileno=os.dup(found.fileno()))


async def test_a_second_connection_is_used_while_the_first_is_held_open(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites
    lyon.handler = held = Held()
    first = asyncio.create_task(nantes.call(lyon, b"hold 1", 60.0))
    await held.started.wait()
    for n in range(3):
        assert await nantes.call(lyon, b"%d" % n) == b"reply to %d" % n
    assert door(lyon) == 2
    held.started.clear()
    second = asyncio.create_task(nantes.call(lyon, b"hold 2", 60.0))
    await held.started.wait()
    with pytest.raises(Unavailable, match=r"within 0\.1 s"):
        await nantes.call(lyon, b"third", 0.1)
    assert (None, b"third") not in lyon.heard
    held.let_go.set()
    assert list(await asyncio.gather(first, second)) == [b"reply to hold 1", b"reply to hold 2"]
    assert await nantes.call(lyon, b"after") == b"reply to after"
    assert door(lyon) == 2


async def test_a_late_reply_is_never_taken_for_another_calls(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites
    lyon.handler = held = Held()
    with pytest.raises(Unavailable, match=r"within 0\.2 s"):
        await nantes.call(lyon, b"hold on", 0.2)
    held.started.clear()
    cancelled = asyncio.create_task(nantes.call(lyon, b"hold again", 60.0))
    await held.started.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    held.let_go.set()
    for n in range(5):
        assert await nantes.call(lyon, b"%d" % n) == b"reply to %d" % n
    async with asyncio.timeout(5):
        while door(lyon) > 1:
            await asyncio.wait(lyon.transport._server._tasks, return_when=asyncio.FIRST_COMPLETED)


async def test_a_connection_that_the_peer_closed_when_idle_is_replaced(tmp_path: Path) -> None:
    async with pair(tmp_path, limits=Limits(idle=0.1)) as (nantes, lyon):
        for n in range(3):
            assert await nantes.call(lyon, b"%d" % n) == b"nantes:%d" % n
            while door(lyon):
                await asyncio.gather(*lyon.transport._server._tasks)


async def test_an_end_that_only_the_kernel_knows_of_is_seen_before_anything_is_sent(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites
    await nantes.call(lyon)
    # No turn of the event loop lies between this and the call.
    with socket_of(lyon, "nantes") as theirs:
        theirs.shutdown(socket.SHUT_WR)
    assert await nantes.call(lyon, b"again") == b"nantes:again"
    assert [body for _, body in lyon.heard] == [b"hello", b"again"]


async def test_a_call_that_may_have_been_delivered_is_not_repeated(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites
    await nantes.call(lyon, b"warm")

    async def die(_: Caller | None, body: bytes) -> bytes:
        lyon.transport.cut("nantes")
        return b"nobody hears this"

    lyon.handler = die
    with pytest.raises(Unavailable):
        await nantes.call(lyon, b"once")
    lyon.handler = None
    assert await nantes.call(lyon, b"next") == b"nantes:next"
    assert [body for _, body in lyon.heard] == [b"warm", b"once", b"next"]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 5_000_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 1000,
        b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_no_reply_of_a_lying_peer_is_worse_than_no_reply(sites: tuple[Site, Site], reply: bytes) -> None:
    nantes, lyon = sites
    async with impostor(serving_as(lyon.key, nantes.der), reply) as fake:
        with pytest.raises(Unavailable):
            await nantes.transport.call(replace(lyon.peer, address=f"127.0.0.1:{fake.port}"), b"x", 5.0)
        assert fake.connections == 1
    assert await nantes.call(lyon) == b"nantes:hello"


@pytest.mark.parametrize(
    ("error", "status"),
    [(StorageError("full"), 503), (Unavailable("not now"), 503), (Forbidden("no"), 403), (Refused("what?"), 422)],
)
async def test_what_the_handler_refuses_has_the_status_of_its_family(
    sites: tuple[Site, Site], error: IntertieError, status: int
) -> None:
    nantes, lyon = sites

    async def refuse(_: Caller | None, body: bytes) -> bytes:
        raise error

    lyon.handler = refuse
    with pytest.raises(Unavailable, match=f"it answered {status}: {error.code}: {error.detail}"):
        await nantes.call(lyon)
    lyon.handler = None
    assert await nantes.call(lyon, b"next") == b"nantes:next"


async def test_nobody_there(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(Unavailable) as silent:
            await nantes.transport.call(replace(lyon.peer, address=f"127.0.0.1:{port}"), b"x", 5.0)
        closed.listen(1)
        with pytest.raises(Unavailable, match=r"within 0\.2 s"):
            await nantes.transport.call(replace(lyon.peer, address=f"127.0.0.1:{port}"), b"x", 0.2)
    assert silent.value.code == "owner-silent"
    assert silent.value.sites == ("lyon",)


async def test_a_new_address_is_used_at_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nantes = await stack.enter_async_context(serving(tmp_path / "a", "nantes"))
        lyon = await stack.enter_async_context(serving(tmp_path / "a", "lyon"))
        nantes.pin(lyon)
        lyon.pin(nantes)
        await nantes.call(lyon)
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            moved = replace(lyon.peer, address=f"127.0.0.1:{closed.getsockname()[1]}")
            with pytest.raises(Unavailable):
                await nantes.transport.call(moved, b"x", 5.0)
        assert await nantes.call(lyon) == b"nantes:hello"


async def test_certificates_rotate_under_load_and_no_call_is_lost(tmp_path: Path) -> None:
    """Leaves of two seconds, so renewed every second at the latest; both sites call all the time."""
    life = timedelta(seconds=2)
    async with serving(tmp_path, "nantes", lifetime=life) as nantes, serving(tmp_path, "lyon", lifetime=life) as lyon:
        nantes.pin(lyon)
        lyon.pin(nantes)
        seen: set[int] = set()
        identify = lyon.transport._trust.identify

        def noted(shown: bytes) -> object:
            seen.add(x509.load_der_x509_certificate(shown).serial_number)
            return identify(shown)

        lyon.transport._trust.identify = noted  # type: ignore[method-assign, assignment]
        calls = 0

        async def keep_calling(caller: Site, called: Site) -> None:
            nonlocal calls
            while len(seen) < 4:
                assert await caller.call(called, b"x") == caller.name.encode() + b":x"
                calls += 1

        async with asyncio.timeout(20):
            await asyncio.gather(*(keep_calling(*p) for p in [(nantes, lyon), (lyon, nantes), (nantes, lyon)]))
        assert calls > 100


async def test_the_kernel_watches_both_ends_for_a_vanished_peer(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites
    await nantes.call(lyon)
    (connection,) = nantes.transport._client._lines["lyon"].idle
    with socket_of(lyon, "nantes") as theirs:
        for sock in (connection.socket, theirs):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            probes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            assert idle + probes * sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) <= 30
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
