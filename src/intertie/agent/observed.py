"""Looking over the agent's shoulder: its ports and turns, counted and traced, and otherwise as they were."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from intertie.agent import causes
from intertie.agent.figures import timed
from intertie.agent.ports import Cloud, PeerAddress, PeerTransport, Transport
from intertie.model.items import Item, Key, key
from intertie.model.wire import Message
from intertie.planning.diff import Plan

if TYPE_CHECKING:
    from intertie.agent.agent import Agent

EARLIEST = 1e9
LATEST = 1e11
"""Seconds since 1970 that a clock may show to be taken for one."""


class _OfAgent(Protocol):
    agent: Agent


class _Report(Protocol):
    @property
    def plan(self) -> Plan: ...


S = TypeVar("S", bound=_OfAgent)
R = TypeVar("R", bound=_Report)


class WatchedCalls:
    """`ports.PeerTransport`: calls to peers."""

    def __init__(self, transport: PeerTransport, agent: Agent) -> None:
        self._transport = transport
        self._agent = agent

    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        figures, name = self._agent.figures, peer.name
        # A call that the peer is asked to hold says nothing about how fast it is.
        held = timeout > self._agent.settings.call_timeout
        with timed(figures.calls, (name,), None if held else figures.call_seconds[(name,)]):
            figures.sent[name] += len(body)
            reply = await self._transport.call(peer, body, timeout)
            figures.received[name] += len(reply)
            return reply

    def trust(self, pins: Mapping[str, str]) -> None:
        self._transport.trust(pins)


def answered(
    handle: Callable[[S, str | None, bytes], Awaitable[bytes]],
) -> Callable[[S, str | None, bytes], Awaitable[bytes]]:
    """A method that answers a peer's call (None: a stranger's), counted; and what it does for one call is caused by
    nothing of the call before it."""

    @functools.wraps(handle)
    async def inside(self: S, caller: str | None, request: bytes) -> bytes:
        figures, name = self.agent.figures, caller or ""
        with causes.because(causes.NONE), timed(figures.served, (name,), figures.served_seconds[(name,)]):
            figures.received[name] += len(request)
            reply = await handle(self, caller, request)
            figures.sent[name] += len(reply)
            return reply

    return inside


def stamped(agent: Agent, message: Message) -> Message:
    """`message` with why its records were written, and what time it is here."""
    why = causes.current()
    told = agent.causes.told(message.records)
    return replace(message, request=why.request, trace=why.trace, causes=told, at=round(agent.now().timestamp(), 3))


@contextmanager
def speaking(agent: Agent, peer: str, message: Message) -> Iterator[Message]:
    """A call to a peer is a span: of the request that waits for it, or of the last one whose records it carries."""
    carried = message.causes[-1].trace if message.causes else ""
    with agent.ports.tracer.span("exchange", message.trace or carried, peer=peer) as trace:
        yield replace(message, trace=trace) if trace else message


def traced(
    answer: Callable[[S, str, Message], Awaitable[bytes]],
) -> Callable[[S, str, Message], Awaitable[bytes]]:
    """A method that answers a peer's message, as a span of that peer's call."""

    @functools.wraps(answer)
    async def inside(self: S, caller: str, message: Message) -> bytes:
        with self.agent.ports.tracer.span("answer", causes.decent(message).trace, peer=caller):
            return await answer(self, caller, message)

    return inside


def heard(agent: Agent, message: Message) -> None:
    """Before a peer's word is taken in: why it says so, how its clock differs, and that it is back."""
    agent.causes.heard(message)
    peer = message.sender
    if EARLIEST < message.at < LATEST:
        # Late by one way of the network: a fraction of a second, where minutes are worth a word.
        agent.figures.skew[peer] = message.at - agent.now().timestamp()
    if agent.peer(peer).failures:
        agent.tell("peer", peer, peer, "answers again")


def rounded(run: Callable[[S], Awaitable[R]]) -> Callable[[S], Awaitable[R]]:
    """A method that runs one round, whole."""

    @functools.wraps(run)
    async def inside(self: S) -> R:
        figures = self.agent.figures
        with self.agent.ports.tracer.span("round"), timed(figures.rounds, (), figures.round_seconds):
            report = await run(self)
        figures.round_ended = asyncio.get_running_loop().time()
        plan = report.plan
        figures.plan = Counter({"+": 0, "-": 0, "~": 0, "?": len(plan.orphans), "!": len(plan.kept)})
        figures.plan.update(c.op for c in plan.changes)
        return report

    return inside


class WatchedDriver:
    """A cloud or transport, as far as rounds go."""

    def __init__(self, name: str, driver: Cloud | Transport, agent: Agent) -> None:
        self._name = name
        self._driver = driver
        self._agent = agent

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        with self._timed("observe"):
            return await self._driver.observe(keys)

    def changes(self) -> AsyncIterator[Key]:
        return self._driver.changes()

    async def ensure(self, item: Item) -> None:
        with self._about("ensure", item):
            await self._driver.ensure(item)

    async def remove(self, item: Item) -> None:
        with self._about("remove", item):
            await self._driver.remove(item)

    @contextmanager
    def _about(self, op: str, item: Item) -> Iterator[None]:
        """What a driver is asked to do, because of whom."""
        kind, id = key(item)
        cause = self._agent.causes.lately(id)
        span = self._agent.ports.tracer.span(f"driver {op}", cause.trace, driver=self._name, kind=kind.value, id=id)
        with causes.because(cause), span, self._timed(op):
            yield

    def _timed(self, op: str) -> AbstractContextManager[None]:
        figures = self._agent.figures
        return timed(figures.drivers, (self._name, op), figures.driver_seconds[(self._name, op)])
