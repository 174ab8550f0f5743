"""Peer calls over real sockets: who gets through, who does not, and what happens when that changes."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from intertie.federation.certificates import client_context, issue, join_context
from intertie.federation.invitation import invite, parse
from intertie.federation.keys import create
from intertie.federation.transport import MAX_BODY, Caller
from intertie.model.errors import Forbidden, Refused, Unavailable
from tests.federation.peer_lab import impostor, pair, post, raw, serving, serving_as


async def test_two_sites_that_pinned_each_other_call_both_ways(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        assert await nantes.call(lyon) == b"nantes:hello"
        assert await lyon.call(nantes, b"") == b"lyon:"
        assert lyon.heard == [(Caller(name="nantes", fingerprint=nantes.key.root.fingerprint), b"hello")]


async def test_large_bodies_and_many_calls_share_one_connection(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        big = bytes(range(256)) * (MAX_BODY // 256 - 1)
        assert await nantes.call(lyon, big) == b"nantes:" + big
        for n in range(50):
            assert await nantes.call(lyon, b"%d" % n) == b"nantes:%d" % n
        assert len(lyon.transport._server.door.of("nantes")) == 1


async def test_ipv6(tmp_path: Path) -> None:
    async with serving(tmp_path, "nantes") as nantes, serving(tmp_path, "lyon", host=IPv6Address("::1")) as lyon:
        nantes.pin(lyon)
        lyon.pin(nantes)
        assert lyon.address.startswith("[::1]:")
        assert await nantes.call(lyon) == b"nantes:hello"


async def test_a_socket_for_all_addresses_serves_both_versions(tmp_path: Path) -> None:
    async with serving(tmp_path, "nantes") as nantes, serving(tmp_path, "lyon", host=None) as lyon:
        nantes.pin(lyon)
        lyon.pin(nantes)
        for address in (f"127.0.0.1:{lyon.port}", f"[::1]:{lyon.port}", f"localhost:{lyon.port}"):
            assert await nantes.transport.call(replace(lyon.peer, address=address), b"x", 5.0) == b"nantes:x"


async def test_a_caller_that_is_not_pinned_is_refused(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon), serving(tmp_path, "rennes") as rennes:
        rennes.pin(lyon)
        with pytest.raises(Unavailable) as silent:
            await rennes.call(lyon)
        assert silent.value.sites == ("lyon",)
        assert lyon.heard == []
        assert await nantes.call(lyon) == b"nantes:hello"


async def test_a_site_that_is_not_pinned_is_not_called(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon), serving(tmp_path, "rennes") as rennes:
        rennes.pin(nantes)
        with pytest.raises(Unavailable, match="not pinned"):
            await nantes.call(rennes)
        # Nor with a root that is given for the call, but is not the pinned one.
        with pytest.raises(Unavailable, match="not pinned"):
            await nantes.transport.call(replace(lyon.peer, root=rennes.der), b"hello", 5.0)
        assert rennes.heard == []


async def test_another_pinned_site_at_the_address_gets_no_word(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon), serving(tmp_path, "rennes") as rennes:
        nantes.pin(lyon, rennes)
        rennes.pin(nantes)
        with pytest.raises(Unavailable, match="rennes answers"):
            await nantes.transport.call(replace(lyon.peer, address=rennes.address), b"for lyon only", 5.0)
        assert rennes.heard == []


async def test_who_serves_with_a_leaf_by_another_root_gets_no_word(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon), serving(tmp_path, "rennes") as rennes:
        nantes.pin(lyon, rennes)
        same_name = create(tmp_path / "other", "lyon")
        for key in (same_name, create(tmp_path / "paris", "paris")):
            async with impostor(serving_as(key, nantes.der)) as fake:
                with pytest.raises(Unavailable, match="certificate is refused"):
                    await nantes.transport.call(replace(lyon.peer, address=f"127.0.0.1:{fake.port}"), b"x", 5.0)
                assert fake.received == b""


async def test_an_expired_leaf_is_refused_at_both_ends(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        async with impostor(serving_as(lyon.key, nantes.der, lifetime=timedelta(seconds=-5))) as fake:
            with pytest.raises(Unavailable, match="expired"):
                await nantes.transport.call(replace(lyon.peer, address=f"127.0.0.1:{fake.port}"), b"x", 5.0)
            assert fake.received == b""
        leaf = issue(nantes.key, datetime.now(UTC), timedelta(seconds=-5))
        wire = await raw(lyon, client_context(leaf, lyon.der))
        assert await wire.ask(post(b"late")) == b""
        assert lyon.heard == []


async def test_a_clock_wrong_by_some_minutes_keeps_nobody_out(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        for minutes in (-45, 45):
            nantes.clock.offset = timedelta(minutes=minutes)
            nantes.pin()
            nantes.pin(lyon)  # a new leaf, dated by the wrong clock
            assert await nantes.call(lyon) == b"nantes:hello"
            assert await lyon.call(nantes) == b"lyon:hello"


async def test_a_connection_ends_with_the_certificate_that_it_rests_on(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        await nantes.call(lyon)
        wire = await raw(lyon, nantes.client_context(lyon.der))
        wire.writer.write(post(b"in time"))
        assert (await wire.reader.readuntil(b"nantes:in time")).startswith(b"HTTP/1.1 200")
        lyon.clock.offset = timedelta(hours=25)
        assert await wire.ask(post(b"too late")) == b""
        assert [body for _, body in lyon.heard] == [b"hello", b"in time"]


async def test_nothing_below_tls_13(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        old = nantes.client_context(lyon.der)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await raw(lyon, old)
        server = serving_as(lyon.key, nantes.der)
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_2
        async with impostor(server) as fake:
            with pytest.raises(Unavailable):
                await nantes.transport.call(replace(lyon.peer, address=f"127.0.0.1:{fake.port}"), b"x", 5.0)
            assert fake.received == b""


async def test_no_session_is_resumed(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        wire = await raw(lyon, nantes.client_context(lyon.der))
        wire.writer.write(post(b"x"))
        await wire.reader.readuntil(b"nantes:x")
        tls = wire.writer.get_extra_info("ssl_object")
        assert not tls.session or not tls.session.has_ticket
        wire.writer.transport.abort()


async def test_a_forgotten_caller_is_cut_at_once_and_refused(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        started = asyncio.Event()
        let_go = asyncio.Event()

        async def hold(_: Caller | None, body: bytes) -> bytes:
            started.set()
            await let_go.wait()
            return b"too late"

        lyon.handler = hold
        call = asyncio.create_task(nantes.call(lyon, seconds=60.0))
        wire = await raw(lyon, nantes.client_context(lyon.der))
        await started.wait()
        before = asyncio.get_running_loop().time()
        lyon.pin()
        with pytest.raises(Unavailable):
            await call
        assert await wire.rest() == b""
        assert asyncio.get_running_loop().time() - before < 5.0
        let_go.set()
        with pytest.raises(Unavailable):
            await nantes.call(lyon)
        assert len(lyon.heard) == 1
        lyon.handler = None
        lyon.pin(nantes)
        assert await nantes.call(lyon) == b"nantes:hello"


async def test_a_forgotten_site_is_cut_while_we_wait_for_it(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        started = asyncio.Event()

        async def hold(_: Caller | None, body: bytes) -> bytes:
            started.set()
            await asyncio.Event().wait()
            return b""

        lyon.handler = hold
        call = asyncio.create_task(nantes.call(lyon, seconds=60.0))
        await started.wait()
        before = asyncio.get_running_loop().time()
        nantes.pin()
        with pytest.raises(Unavailable):
            await call
        assert asyncio.get_running_loop().time() - before < 5.0


async def test_a_site_forgotten_during_its_handshake_is_refused(tmp_path: Path) -> None:
    """The handshake began under the old table; what counts is the table at its end."""
    async with pair(tmp_path) as (nantes, lyon):
        trust = lyon.transport._trust
        context = trust.server_context()
        lyon.pin()
        trust.server_context = lambda: context  # type: ignore[method-assign]
        wire = await raw(lyon, nantes.client_context(lyon.der))
        assert wire.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert await wire.ask(post(b"x")) == b""
        assert lyon.heard == []


async def test_cut_breaks_what_is_live_and_the_next_call_goes_through(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        await nantes.call(lyon)
        await lyon.call(nantes)
        lyon.transport.cut("nantes")
        lyon.transport.cut("nobody")
        assert await lyon.call(nantes) == b"lyon:hello"


async def test_a_joiner_without_certificate_is_heard_once_by_the_right_inviter(tmp_path: Path) -> None:
    async with serving(tmp_path, "nantes") as nantes, serving(tmp_path, "lyon") as lyon:
        token, kept = invite(nantes.key.root, "lyon", nantes.address, datetime.now(UTC))

        async def welcome(caller: Caller | None, body: bytes) -> bytes:
            assert caller is None
            kept.admit("lyon", body, datetime.now(UTC))
            return nantes.der

        nantes.handler = welcome
        read = parse(token.encode())
        assert await lyon.transport.call(read.peer, read.secret, 5.0) == nantes.der
        with pytest.raises(Forbidden, match="not known here"):
            await lyon.transport.call(read.peer, b"wrong", 5.0)
        lyon.pin(nantes)
        nantes.pin(lyon)
        nantes.handler = None
        assert await lyon.call(nantes) == b"lyon:hello"


async def test_a_joiner_tells_its_secret_to_nobody_else(tmp_path: Path) -> None:
    async with serving(tmp_path, "nantes") as nantes, serving(tmp_path, "lyon") as lyon:
        token, _ = invite(nantes.key.root, "lyon", nantes.address, datetime.now(UTC))
        other = create(tmp_path / "other", "nantes")
        for key in (other, lyon.key):
            async with impostor(serving_as(key)) as fake:
                with pytest.raises(Unavailable, match="certificate"):
                    await lyon.transport.call(
                        replace(token.peer, address=f"127.0.0.1:{fake.port}"), token.secret, 5.0
                    )
                assert fake.connections <= 1
                assert fake.received == b""


async def test_a_stranger_has_one_small_request(tmp_path: Path) -> None:
    async with pair(tmp_path) as (_, lyon):
        wire = await raw(lyon, join_context())
        reply = await wire.ask(post(b"one") + post(b"two"))
        assert reply.startswith(b"HTTP/1.1 200")
        assert reply.endswith(b"stranger:one")
        wire = await raw(lyon, join_context())
        assert (await wire.ask(post(b"x" * (256 * 1024 + 1)))).startswith(b"HTTP/1.1 413")
        assert lyon.heard == [(None, b"one")]


async def test_refusals_reach_the_caller_with_their_words(tmp_path: Path) -> None:
    async with pair(tmp_path) as (nantes, lyon):

        async def refuse(_: Caller | None, body: bytes) -> bytes:
            raise Forbidden("lyon has had enough")

        lyon.handler = refuse
        with pytest.raises(Unavailable, match="403: forbidden: lyon has had enough"):
            await nantes.call(lyon)
        lyon.handler = None
        assert await nantes.call(lyon) == b"nantes:hello"
        with pytest.raises(Refused) as refused:
            await nantes.call(lyon, bytes(MAX_BODY + 1))
        assert refused.value.code == "too-large"
