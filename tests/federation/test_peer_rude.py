"""Rude, slow, broken and too many clients: each ends alone, and pinned sites do not notice."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intertie.federation.certificates import join_context
from intertie.federation.peer_door import Door, Guest, Limits, source_of
from intertie.federation.transport import MAX_BODY, Caller
from intertie.model.errors import Unavailable
from tests.federation.peer_lab import Site, Wire, pair, post, raw

QUICK = Limits(
    strangers=20, strangers_per_source=10, handshake=0.3, head=0.3, body=0.3, join=0.3, idle=0.3, reply=0.3
)
CHUNKED = b"POST /peer/v1/exchange HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:
    async with pair(tmp_path, limits=Limits(linger=0.1)) as (nantes, lyon):
        yield nantes, lyon
        assert await nantes.call(lyon, b"still there") == b"nantes:still there"


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:
    """lyon has little patience."""
    async with pair(tmp_path, limits=QUICK) as (nantes, lyon):
        yield nantes, lyon
        assert await nantes.call(lyon, b"still there") == b"nantes:still there"


async def as_nantes(sites: tuple[Site, Site]) -> Wire:
    nantes, lyon = sites
    return await raw(lyon, nantes.client_context(lyon.der))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"").replace(b"POST", b"GET"), 405),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        (b"GET /v1/vpns HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        (b"CONNECT lyon:22 HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        (post(b"").replace(b"exchange", b"exchange?a=b"), 404),
        (post(b"").replace(b"exchange", b"../v1/exchange"), 404),
        (post(b"", "x-long: " + "x" * 20_000), 431),
        (post(b"").replace(b"content-length: 0", b"content-length: -1"), 400),
        (post(b"").replace(b"content-length: 0", b"content-length: 1\r\ncontent-length: 2"), 400),
        (post(b"").replace(b"host: x", b"ho st: x"), 400),
        (b"\x00\x01\x02\x03\r\n\r\n", 400),
        (f"POST /peer/v1/exchange HTTP/1.1\r\nhost: x\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n".encode(), 413),
        (CHUNKED + b"%x\r\n" % (MAX_BODY + 1) + bytes(MAX_BODY + 1), 413),
        (CHUNKED + b"zz\r\n", 400),
    ],
)
async def test_what_is_no_peer_call_gets_a_short_no(sites: tuple[Site, Site], request_: bytes, status: int) -> None:
    wire = await as_nantes(sites)
    reply = await wire.ask(request_)
    assert reply.startswith(b"HTTP/1.1 %d" % status)
    assert len(reply) < 300
    assert sites[1].heard == []


async def test_an_oversized_body_is_refused_before_it_has_come(sites: tuple[Site, Site]) -> None:
    wire = await as_nantes(sites)
    wire.writer.write(post(bytes(8 * MAX_BODY)))
    assert (await wire.rest()).startswith(b"HTTP/1.1 413")


async def test_a_body_of_exactly_the_limit_is_taken(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites

    async def size(_: Caller | None, body: bytes) -> bytes:
        return b"%d" % len(body)

    lyon.handler = size
    assert await nantes.call(lyon, bytes(MAX_BODY), 20.0) == b"%d" % MAX_BODY
    lyon.handler = None


async def test_pipelined_requests_are_answered_in_turn(sites: tuple[Site, Site]) -> None:
    wire = await as_nantes(sites)
    reply = await wire.ask(post(b"one") + post(b"two") + post(b"three", "connection: close"))
    assert [part.split(b"\r\n\r\n")[1] for part in reply.split(b"HTTP/1.1 200")[1:]] == [
        b"nantes:one",
        b"nantes:two",
        b"nantes:three",
    ]


async def test_who_never_begins_the_handshake_is_cut(hasty: tuple[Site, Site]) -> None:
    assert await (await raw(hasty[1])).rest() == b""


async def test_who_drips_octets_is_cut(hasty: tuple[Site, Site]) -> None:
    request = post(b"x" * 100)
    for begin in (request[:20], request[:-50]):
        wire = await as_nantes(hasty)
        wire.writer.write(begin)
        ending = asyncio.create_task(wire.rest())
        while not ending.done():
            with suppress(OSError):
                wire.writer.write(b"x")
            await asyncio.wait([ending], timeout=0.05)
        assert await ending == b""
    assert hasty[1].heard == []


async def test_who_stays_idle_is_cut(hasty: tuple[Site, Site]) -> None:
    wire = await as_nantes(hasty)
    assert b"nantes:x" in await wire.ask(post(b"x"))
    stranger = await raw(hasty[1], join_context())
    assert await stranger.rest() == b""


async def test_a_stranger_has_no_time_to_waste(tmp_path: Path) -> None:
    """Not even what a peer may take for its head, and then for its body."""
    async with pair(tmp_path, limits=Limits(join=0.2)) as (_, lyon):
        wire = await raw(lyon, join_context())
        wire.writer.write(post(b"x" * 100)[:-50])
        assert await wire.rest() == b""
        assert lyon.heard == []


async def test_who_does_not_take_the_reply_is_cut(hasty: tuple[Site, Site]) -> None:
    lyon = hasty[1]

    async def much(_: Caller | None, body: bytes) -> bytes:
        return bytes(MAX_BODY)

    lyon.handler = much
    wire = await as_nantes(hasty)
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads as well
    wire.writer.write(post(b"x") * 10)
    async with asyncio.timeout(5):
        while lyon.transport._server._tasks:
            await asyncio.wait(lyon.transport._server._tasks)
    assert len(lyon.heard) < 10
    wire.writer.transport.abort()
    lyon.handler = None


async def test_clients_that_vanish_at_any_moment(sites: tuple[Site, Site]) -> None:
    request = post(b"x" * 2000)
    for end in (0, 1, 10, 60, 100, len(request) - 1, len(request)):
        for half in (True, False):
            wire = await as_nantes(sites)
            wire.writer.write(request[:end])
            if half:
                wire.writer.close()
            else:
                wire.writer.transport.abort()


async def test_a_crash_in_the_handler_ends_one_connection(
    sites: tuple[Site, Site], capsys: pytest.CaptureFixture[str]
) -> None:
    nantes, lyon = sites
    for error in (ValueError("a bug"), OSError("disk gone")):

        async def crash(_: Caller | None, body: bytes, error: Exception = error) -> bytes:
            raise error

        lyon.handler = crash
        with pytest.raises(Unavailable):
            await nantes.call(lyon)
        assert str(error) in capsys.readouterr().out
    lyon.handler = None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_garbage_in_place_of_tls_or_http(sites: tuple[Site, Site], data: st.DataObject) -> None:
    nantes, lyon = sites
    junk = data.draw(st.binary(max_size=400) | st.binary(max_size=40).map(lambda rest: b"\x16\x03\x01" + rest))
    tls = data.draw(st.booleans())
    wire = await raw(lyon, nantes.client_context(lyon.der) if tls else None)
    wire.writer.write(junk)
    if not tls:
        wire.writer.write_eof()
        await wire.rest()
    else:
        wire.writer.close()
    assert await nantes.call(lyon) == b"nantes:hello"


async def test_a_flood_from_elsewhere_does_not_keep_a_peer_out(hasty: tuple[Site, Site]) -> None:
    nantes, lyon = hasty
    flood = [await raw(lyon, source=f"127.0.1.{n % 3 + 1}") for n in range(120)]
    assert await nantes.call(lyon) == b"nantes:hello"
    door = lyon.transport._server.door
    assert len(door._arrivals) <= QUICK.strangers
    assert door.gave_way >= 100
    # A peer's own connections are no strangers', and stay.
    more = [await raw(lyon, source="127.0.1.9") for _ in range(50)]
    assert len(door.of("nantes")) == 1
    for wire in flood + more:
        assert await wire.rest() == b""


async def test_a_peer_holds_a_bounded_number_of_connections(sites: tuple[Site, Site]) -> None:
    lyon = sites[1]
    wires = [await as_nantes(sites) for _ in range(12)]
    for wire in wires[-8:]:
        wire.writer.write(post(b"x"))
        await wire.reader.readuntil(b"nantes:x")
    assert len(lyon.transport._server.door.of("nantes")) == Limits().per_peer
    for wire in wires[:4]:
        assert await wire.rest() == b""
    for wire in wires:
        wire.writer.transport.abort()


async def test_out_of_file_descriptors_is_survived(sites: tuple[Site, Site]) -> None:
    nantes, lyon = sites
    await nantes.call(lyon)
    wires = [await raw(lyon) for _ in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(2)]
    highest = max(spare)
    clients = []
    try:
        for fd in spare:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with suppress(OSError):
            while True:
                clients.append(await raw(lyon))
        assert await nantes.call(lyon, b"on the warm connection") == b"nantes:on the warm connection"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for wire in wires + clients:
        wire.writer.transport.abort()
    nantes.transport.cut("lyon")
    assert await nantes.call(lyon) == b"nantes:hello"


@given(arrivals=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", "a", "b"])), max_size=80))
def test_the_door_keeps_its_shares_and_the_newest(arrivals: list[tuple[int, str]]) -> None:
    limits = Limits(strangers=6, strangers_per_source=3, per_peer=2)
    door = Door(limits)
    out: set[int] = set()
    inside: list[tuple[int, Guest]] = []
    for n, (source, peer) in enumerate(arrivals):
        guest = Guest(source_of(f"192.0.2.{source}"), lambda n=n: out.add(n))  # type: ignore[misc]
        door.enter(guest)
        if peer:
            door.recognise(guest, peer)
        assert n not in out
        inside.append((n, guest))
        here = [g for m, g in inside if m not in out]
        strangers = [g for g in here if not g.peer]
        assert len(strangers) <= limits.strangers
        for network in {g.source for g in strangers}:
            assert sum(g.source == network for g in strangers) <= limits.strangers_per_source
        for name in ("a", "b"):
            assert set(door.of(name)) == {g for g in here if g.peer == name}
            assert len(door.of(name)) <= limits.per_peer
    for _, guest in inside:
        door.leave(guest)
    assert not door._arrivals
    assert not door._strangers
    assert not door._peers


def test_sources() -> None:
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1")
    assert source_of("2001:db8::1") == source_of("2001:db8::2")
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("fe80::1%eth0") == source_of("fe80::2%eth1")
