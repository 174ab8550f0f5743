"""What a connection may cost before it has proved anything: each limit is reached here, and nothing was spent."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.federation import certificates
from intertie.federation.certificates import Shown, join_context
from intertie.federation.peer_door import Limits
from intertie.federation.rates import Meter, Rate
from intertie.federation.transport import MAX_BODY, Caller
from intertie.model.errors import Forbidden
from tests.federation.peer_lab import Site, pair, post, raw

LIMITS = Limits(linger=0.1)


async def deny(_: Caller | None, body: bytes) -> bytes:
    raise Forbidden("this invitation is not valid")


def spy(monkeypatch: pytest.MonkeyPatch, site: Site) -> list[str]:
    """What the site spends from now on: "tls" for each handshake begun, "read" for each certificate looked at."""
    spent: list[str] = []
    trust = site.transport._server._trust
    begin, read = trust.server_context, certificates.read

    def begun() -> ssl.SSLContext:
        spent.append("tls")
        return begin()

    def looked_at(shown: bytes) -> Shown:
        spent.append("read")
        return read(shown)

    monkeypatch.setattr(trust, "server_context", begun)
    monkeypatch.setattr(certificates, "read", looked_at)
    return spent


async def test_a_source_that_proves_nothing_is_turned_away_before_the_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path, limits=replace(LIMITS, handshakes=Rate(5, 0.001))) as (nantes, lyon):
        assert await nantes.call(lyon) == b"nantes:hello"
        spent = spy(monkeypatch, lyon)
        for _ in range(5):
            wire = await raw(lyon, source="127.0.1.1")
            assert await wire.ask(b"no TLS") is not None
        assert spent == ["tls"] * 5
        for _ in range(20):
            wire = await raw(lyon, source="127.0.1.1")
            assert await wire.rest() == b""
        assert spent == ["tls"] * 5
        assert lyon.transport._server.door.turned_away == 20
        # Others are not meant: neither a peer elsewhere, nor its connection that stands.
        assert await nantes.call(lyon) == b"nantes:hello"
        nantes.transport.cut("lyon")
        assert await nantes.call(lyon) == b"nantes:hello"


async def test_handshakes_that_prove_a_peer_are_not_counted(tmp_path: Path) -> None:
    async with pair(tmp_path, limits=replace(LIMITS, handshakes=Rate(3, 0.001))) as (nantes, lyon):
        for _ in range(12):
            nantes.transport.cut("lyon")
            assert await nantes.call(lyon) == b"nantes:hello"
        assert lyon.transport._server.door.turned_away == 0


async def test_joins_that_came_to_nothing_are_refused_before_their_body_is_read(tmp_path: Path) -> None:
    async with pair(tmp_path, limits=replace(LIMITS, joins=Rate(3, 0.001))) as (nantes, lyon):
        lyon.handler = deny
        for _ in range(3):
            wire = await raw(lyon, join_context())
            assert (await wire.ask(post(b"a guess"))).startswith(b"HTTP/1.1 403")
        assert len(lyon.heard) == 3
        wire = await raw(lyon, join_context())
        # Of the body nothing is there yet, and nothing is waited for.
        assert (await wire.ask(post(bytes(1000))[:-1000])).startswith(b"HTTP/1.1 429")
        assert len(lyon.heard) == 3
        # Who comes from elsewhere may try, and peers are no strangers.
        wire = await raw(lyon, join_context(), source="127.0.1.1")
        assert (await wire.ask(post(b"a guess"))).startswith(b"HTTP/1.1 403")
        lyon.handler = None
        assert await nantes.call(lyon) == b"nantes:hello"


async def test_joins_that_let_somebody_in_are_not_counted(tmp_path: Path) -> None:
    limits = replace(LIMITS, joins=Rate(2, 0.001), all_joins=Rate(2, 0.001), handshakes=Rate(2, 0.001))
    async with pair(tmp_path, limits=limits) as (_, lyon):
        for _ in range(8):
            wire = await raw(lyon, join_context())
            assert b"stranger:please" in await wire.ask(post(b"please"))
        assert lyon.transport._server.door.turned_away == 0


async def test_all_strangers_together_may_try_only_so_often(tmp_path: Path) -> None:
    async with pair(tmp_path, limits=replace(LIMITS, all_joins=Rate(4, 0.001))) as (nantes, lyon):
        lyon.handler = deny
        for n in range(10):
            wire = await raw(lyon, join_context(), source=f"127.0.1.{n + 1}")
            status = 403 if n < 4 else 429
            assert (await wire.ask(post(b"a guess"))).startswith(b"HTTP/1.1 %d" % status)
        assert len(lyon.heard) == 4
        lyon.handler = None
        assert await nantes.call(lyon) == b"nantes:hello"


async def test_a_peer_that_calls_without_end_waits_for_its_turn_and_no_other_does(tmp_path: Path) -> None:
    async with pair(tmp_path, limits=replace(LIMITS, calls=Rate(10, 20.0))) as (nantes, lyon):
        clock = asyncio.get_running_loop().time
        begun = clock()
        for _ in range(20):
            assert await nantes.call(lyon, seconds=60.0) == b"nantes:hello"
        # Ten at once, the others at their rate: half a second at least, on a machine of whatever speed.
        assert clock() - begun >= 0.45
        assert lyon.transport._server.door.turn("rennes", clock()) == 0


async def test_large_calls_count_as_many(tmp_path: Path) -> None:
    async with pair(tmp_path, limits=replace(LIMITS, calls=Rate(1000, 0.5))) as (nantes, lyon):
        assert await nantes.call(lyon, bytes(MAX_BODY - 100), 30.0)
        door = lyon.transport._server.door
        assert door._calls._paid["nantes"] - asyncio.get_running_loop().time() > 60


@given(
    times=st.lists(st.floats(0, 3), max_size=60).map(sorted),
    burst=st.integers(1, 5),
    per_second=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_a_meter_allows_its_burst_and_its_rate_and_no_more(times: list[float], burst: int, per_second: float) -> None:
    meter = Meter(Rate(burst, per_second))
    done: list[float] = []
    for now in times:
        waited = meter.wait("a", now)
        if meter.take("a", now):
            assert waited == 0
            done.append(now)
        else:
            assert waited > 0
            assert meter.wait("a", now + waited) <= 1e-9
        for since in done:
            assert sum(t >= since for t in done) <= burst + (now - since) * per_second + 1e-6
    assert len(done) >= min(burst, len(times))


def test_a_meter_keeps_a_bounded_number_of_keys() -> None:
    meter = Meter(Rate(1, 1.0), most=10)
    for key in range(1000):
        assert meter.take(key, 0.0)
    assert len(meter) == 10
    assert not meter.take(999, 0.0)
