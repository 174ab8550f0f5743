"""The proxy itself, fault by fault, on loopback: what passes, what does not, and what is heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import TypeVar

from intertie.federation.peer_server import listen
from intertie.testing.fault_proxy import Fault, FaultProxy

HERE = IPv4Address("127.0.0.1")
LONG = 20.0
"""Seconds within which anything happens that shall happen."""
BIG = b"x" * 200_000
QUIET = 0.3
"""Seconds in which nothing comes, where nothing shall come."""

T = TypeVar("T")
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Lab:
    """A caller `a`, the proxy, and a target `b` whose ends of connections wait in a queue."""

    def __init__(self) -> None:
        self.proxy = FaultProxy(lambda source: "a")
        self.arrived: asyncio.Queue[Pair] = asyncio.Queue()
        self.port = 0
        self.behind: asyncio.Server
        self._ends: list[Pair] = []

    async def open(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.arrived.put_nowait((reader, writer))

        self.behind = await asyncio.start_server(serve, "127.0.0.1", 0)
        sock = listen(HERE, 0)
        self.port = sock.getsockname()[1]
        await self.proxy.listen("b", sock, "127.0.0.1", self.behind.sockets[0].getsockname()[1])

    async def connect(self) -> Pair:
        pair = await asyncio.open_connection("127.0.0.1", self.port)
        self._ends.append(pair)
        return pair

    async def both(self) -> tuple[Pair, Pair]:
        """A connection that has carried an octet each way: (the caller's end, the target's end)."""
        near = await self.connect()
        far = await soon(self.arrived.get())
        self._ends.append(far)
        await say(near, b".")
        assert await hear(far, 1) == b"."
        await say(far, b".")
        assert await hear(near, 1) == b"."
        return near, far

    async def close(self) -> None:
        for _, writer in self._ends:
            writer.transport.abort()
        self.behind.close()
        await self.proxy.close()


@asynccontextmanager
async def laboratory() -> AsyncIterator[Lab]:
    lab = Lab()
    await lab.open()
    try:
        yield lab
    finally:
        await lab.close()


async def soon(what: Awaitable[T]) -> T:
    async with asyncio.timeout(LONG):
        return await what


async def say(end: Pair, words: bytes) -> None:
    end[1].write(words)
    await end[1].drain()


async def hear(end: Pair, octets: int) -> bytes:
    return await soon(end[0].readexactly(octets))


async def silent(end: Pair) -> bool:
    """Whether neither an octet nor an end comes for a while."""
    try:
        async with asyncio.timeout(QUIET):
            await end[0].read(1)
    except TimeoutError:
        return True
    return False


async def is_reset(end: Pair) -> bool:
    """Whether the connection ends with a reset, whatever was still on its way before that."""
    try:
        while await soon(end[0].read(1 << 16)):
            pass
    except ConnectionResetError:
        return True
    return False


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while True:
            if ready():
                return
            await asyncio.sleep(0.01)


async def test_without_faults_it_passes_everything_both_ways_and_ends_with_it() -> None:
    async with laboratory() as lab:
        near, far = await lab.both()
        asked = asyncio.create_task(say(near, BIG))
        assert await hear(far, len(BIG)) == BIG
        await asked
        near[1].close()
        assert await soon(far[0].read()) == b""
        there = lab.proxy.traffic["a", "b"]
        assert (there.connections, there.turns, there.octets) == (1, 2, len(BIG) + 1)
        assert lab.proxy.traffic["b", "a"].octets == 1


async def test_a_delay_puts_off_one_way_only() -> None:
    async with laboratory() as lab:
        near, far = await lab.both()
        lab.proxy.set("a", "b", Fault(delay=0.5))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await say(far, b"answer")
        assert await hear(near, 6) == b"answer"
        await say(near, b"question")
        assert await hear(far, 8) == b"question"
        assert loop.time() - begun >= 0.5


async def test_what_a_cut_swallowed_never_comes_and_the_connection_stays_lost() -> None:
    async with laboratory() as lab:
        near, far = await lab.both()
        lab.proxy.set("a", "b", Fault(cut=True))
        await say(near, b"lost")
        await until(lambda: lab.proxy.traffic["a", "b"].swallowed == 4)
        await say(far, b"heard")
        assert await hear(near, 5) == b"heard"
        lab.proxy.lift()
        await say(near, b"lost too")
        assert await silent(far)
        _, fresh = await lab.both()
        assert await silent(fresh)


async def test_the_end_of_a_connection_is_not_heard_through_a_cut_and_its_survivor_is_reset_when_it_speaks() -> None:
    async with laboratory() as lab:
        near, far = await lab.both()
        lab.proxy.set("a", "b", Fault(cut=True))
        near[1].transport.abort()
        assert await silent(far)
        lab.proxy.lift()
        assert await silent(far)
        await say(far, b"anybody there?")
        assert await is_reset(far)


async def test_who_knocks_at_a_cut_is_let_in_when_it_is_lifted() -> None:
    async with laboratory() as lab:
        lab.proxy.set("a", "b", Fault(cut=True))
        near = await lab.connect()
        await say(near, b"knock")
        assert await silent(near)
        assert lab.arrived.empty()
        lab.proxy.lift(("a", "b"))
        assert await hear(await soon(lab.arrived.get()), 5) == b"knock"


async def test_half_open_hides_an_end_and_nothing_else() -> None:
    async with laboratory() as lab:
        near, far = await lab.both()
        lab.proxy.set("a", "b", Fault(half_open=True))
        await say(near, b"good")
        assert await hear(far, 4) == b"good"
        near[1].transport.abort()
        assert await silent(far)
        await say(far, b"to nobody")
        await until(lambda: lab.proxy.traffic["b", "a"].swallowed == 9)
        assert await silent(far)


async def test_a_refusal_is_hidden_too() -> None:
    async with laboratory() as lab:
        lab.behind.close()
        assert await is_reset(await lab.connect())
        lab.proxy.set("b", "a", Fault(half_open=True))
        near = await lab.connect()
        await say(near, b"knock")
        assert await silent(near)


async def test_a_reset_comes_in_the_middle_of_a_reply_and_at_each_connection() -> None:
    async with laboratory() as lab:
        for round in (1, 2):
            lab.proxy.lift()
            near, far = await lab.both()
            lab.proxy.set("b", "a", Fault(reset_after=1000))
            await say(far, b"y" * 600)
            assert await hear(near, 600) == b"y" * 600
            await say(far, b"y" * 600)
            assert await is_reset(far)
            assert await is_reset(near)
            assert lab.proxy.traffic["b", "a"].resets == round
        assert lab.proxy.traffic["b", "a"].octets == 2 + 2 * 600


async def test_a_slow_way_takes_its_time() -> None:
    async with laboratory() as lab:
        near, far = await lab.both()
        lab.proxy.set("b", "a", Fault(rate=100_000))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        asked = asyncio.create_task(say(far, b"z" * 50_000))
        assert await hear(near, 50_000) == b"z" * 50_000
        await asked
        assert loop.time() - begun >= 0.45


async def test_what_was_clogged_comes_in_order_and_links_open_in_any_order() -> None:
    async with laboratory() as lab:
        first, first_far = await lab.both()
        lab.proxy.set("a", "b", Fault(clog=True))
        lab.proxy.set("b", "a", Fault(clog=True))
        await say(first, b"one ")
        await say(first_far, b"answer")
        late = await lab.connect()
        await say(late, b"late")
        assert await silent(first_far)
        assert await silent(first)
        await say(first, b"two")
        lab.proxy.lift(("b", "a"))
        assert await hear(first, 6) == b"answer"
        assert await silent(first_far)
        assert lab.arrived.empty()
        lab.proxy.lift(("a", "b"))
        assert await hear(first_far, 7) == b"one two"
        assert await hear(await soon(lab.arrived.get()), 4) == b"late"


async def test_connections_can_be_broken_off() -> None:
    async with laboratory() as lab:
        near, far = await lab.both()
        assert lab.proxy.break_off("b", "a") == 1
        assert await is_reset(near)
        assert await is_reset(far)
        await lab.both()
