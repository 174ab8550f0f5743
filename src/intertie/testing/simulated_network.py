"""What lies between simulated sites: messages that take time, and everything that happens to messages.

A call is two messages. Each is delivered, or meets the weather of its link: it is lost, comes twice or late, waits
in a clogged link, or its connection breaks. The handler runs as the called site's process, so a call outlives its
caller, and who dies while answering leaves the caller with a broken connection.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field

from intertie.agent.ports import Handler, PeerAddress
from intertie.model.errors import Forbidden, IntertieError, Refused, Unavailable
from intertie.testing.virtual_time import Process

NOBODY = Context()
"""Messages under way belong to no process."""
KEPT = 64
"""Requests of a link that are remembered, to be played again."""
SECOND = 10.0
"""Seconds after which a duplicate has arrived."""

Watch = Callable[[str, str, str, str], None]
"""(from, to, request or reply, fate)"""


def _nobody_watches(a: str, b: str, what: str, fate: str) -> None:
    return None


async def _no_point(site: str, point: str) -> None:
    return None


@dataclass(slots=True)
class Weather:
    """What befalls messages from one site to another; probabilities 0..1, times in seconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    """Up to this much later, each on its own."""
    reset: float = 0.0
    """Of requests: the connection breaks after they arrived."""
    half_open: float = 0.0
    """Of replies: they vanish, and the caller waits for its whole timeout."""


@dataclass(slots=True)
class Link:
    """One direction between two sites."""

    chance: random.Random
    weather: Weather = field(default_factory=Weather)
    clogged: list[Callable[[], None]] | None = None
    """Messages that wait for the link to open; None: it is open."""
    requests: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT))
    fair: bool = True
    """No weather: nothing needs to be drawn."""


@dataclass(slots=True)
class _Called:
    """A site that answers calls: its handler, and the process that it runs in."""

    handler: Handler
    process: Process


@dataclass(slots=True)
class _Call:
    """One call under way."""

    caller: str
    peer: PeerAddress
    body: bytes
    reply: asyncio.Future[bytes]

    @property
    def joins(self) -> bool:
        return not self.peer.root

    def fail(self, problem: str) -> None:
        if not self.reply.done():
            self.reply.set_exception(Unavailable(problem, code="owner-silent"))


@dataclass(slots=True)
class Network:
    """`delay` is one way in seconds, ± 10 %; `loss` 0..1 of all messages, noticed at once; `cuts` are (from, to)."""

    seed: str
    delay: float = 0.02
    loss: float = 0.0
    cuts: set[tuple[str, str]] = field(default_factory=set)
    silent_cuts: bool = False
    """Whether who calls over a cut waits for its timeout, or hears at once that there is no way."""
    handlers: dict[str, _Called] = field(default_factory=dict)
    trusted: dict[str, frozenset[str]] = field(default_factory=dict)
    links: dict[tuple[str, str], Link] = field(default_factory=dict)
    calls: int = 0
    carried: list[tuple[float, str, str, int]] | None = field(default_factory=list)
    """Every call: time, caller, peer, octets. None: they are not noted."""
    watch: Watch = _nobody_watches
    point: Callable[[str, str], Awaitable[None]] = _no_point
    """Called with (site, crash point) where a process may die."""
    _answering: dict[str, dict[int, _Call]] = field(default_factory=dict)

    def link(self, a: str, b: str) -> Link:
        if (a, b) not in self.links:
            self.links[a, b] = Link(random.Random(f"{self.seed}/link/{a}/{b}"))
        return self.links[a, b]

    def serve(self, site: str, handler: Handler, process: Process) -> None:
        """From now on calls to the site are answered by this handler."""
        self.handlers[site] = _Called(handler, process)

    def gone(self, site: str) -> None:
        """The site's process died: connections to it break."""
        self.handlers.pop(site, None)
        for call in list(self._answering.pop(site, {}).values()):
            self._after(self.delay, lambda call=call: call.fail(f"{site} broke the connection"))  # type: ignore[misc]

    # ── Calls ──────────────────────────────────────────────────────────────────────────────────────────────

    async def call(self, caller: str, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        """See `ports.PeerTransport.call`."""
        self.calls += 1
        if self.carried is not None:
            self.carried.append((asyncio.get_running_loop().time(), caller, peer.name, len(body)))
        call = _Call(caller, peer, body, asyncio.get_running_loop().create_future())
        await self.point(caller, "before-send")
        self._request(call)
        await self.point(caller, "after-send")
        try:
            async with asyncio.timeout(timeout):
                return await call.reply
        except TimeoutError:
            raise Unavailable(f"{peer.name} did not answer in time", code="owner-silent") from None

    def replay(self, caller: str, to: str, body: bytes) -> None:
        """An old request comes once more, as from whoever kept it."""
        peer = PeerAddress(name=to, address="", root="known")
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(lambda f: f.cancelled() or f.exception(), context=NOBODY)
        self._deliver(_Call(caller, peer, body, reply))

    def _request(self, call: _Call) -> None:
        link = self.link(call.caller, call.peer.name)
        weather = link.weather
        self._carry(call, call.caller, call.peer.name, "request", lambda: self._deliver(call))
        if not link.fair and link.chance.random() < weather.duplicate:
            self.watch(call.caller, call.peer.name, "request", "twice")
            self._after(link.chance.uniform(self.delay, SECOND), lambda: self._deliver(call))

    def _carry(self, call: _Call, a: str, b: str, what: str, arrive: Callable[[], None]) -> None:
        """One message on its way, through the weather."""
        link = self.link(a, b)
        delay = self.delay * link.chance.uniform(0.9, 1.1)
        if (a, b) in self.cuts or (self.loss and link.chance.random() < self.loss):
            self.watch(a, b, what, "cut")
            if not self.silent_cuts:
                self._after(delay, lambda: call.fail(f"no way from {a} to {b}"))
            return
        if link.clogged is not None:
            self.watch(a, b, what, "clogged")
            link.clogged.append(arrive)
            return
        fate = "goes"
        if not link.fair:
            weather = link.weather
            if link.chance.random() < weather.drop or (what == "reply" and link.chance.random() < weather.half_open):
                self.watch(a, b, what, "lost")
                return
            if weather.late:
                delay += link.chance.uniform(0.0, weather.late)
                fate = "late"
            if what == "reply" and link.chance.random() < weather.reset:
                self.watch(a, b, what, "reset")
                self._after(delay, lambda: call.fail(f"{a} reset the connection"))
                return
        self.watch(a, b, what, fate)
        self._after(delay, arrive)

    def _deliver(self, call: _Call) -> None:
        """A request arrives."""
        to = call.peer.name
        called = self.handlers.get(to)
        if called is None:
            call.fail(f"{to} refuses the connection of {call.caller}")
        elif not call.joins and call.caller not in self.trusted.get(to, frozenset()):
            call.fail(f"{to} refuses the connection of {call.caller}: not one of its peers")
        else:
            if not call.joins:
                # Only what has arrived can come again; what never did would be news.
                self.link(call.caller, to).requests.append(call.body)
            self._answering.setdefault(to, {})[id(call)] = call
            called.process.spawn(self._serve(call, called))

    async def _serve(self, call: _Call, called: _Called) -> None:
        """In the process of the called site."""
        here = call.peer.name
        try:
            raw = await called.handler(None if call.joins else call.caller, call.body)
        except (Forbidden, Refused) as error:
            problem: IntertieError = error if call.joins else Unavailable(error.detail, code="owner-silent")
            self._reply(call, lambda: _settle(call.reply, problem))
        except IntertieError as error:
            detail = error.detail
            self._reply(call, lambda: call.fail(detail))
        else:
            await self.point(here, "before-reply")
            self._reply(call, lambda: _settle(call.reply, raw))
            await self.point(here, "after-reply")
        finally:
            self._answering.get(here, {}).pop(id(call), None)

    def _reply(self, call: _Call, arrive: Callable[[], None]) -> None:
        self._carry(call, call.peer.name, call.caller, "reply", arrive)

    def _after(self, delay: float, callback: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(delay, callback, context=NOBODY.copy())

    # ── Weather ────────────────────────────────────────────────────────────────────────────────────────────

    def set_weather(self, a: str, b: str, weather: Weather) -> None:
        """From now on, for what leaves `a` for `b`."""
        link = self.link(a, b)
        link.weather, link.fair = weather, weather == Weather()

    def clog(self, a: str, b: str) -> None:
        link = self.link(a, b)
        if link.clogged is None:
            link.clogged = []

    def unclog(self, a: str, b: str) -> None:
        """What waited arrives now, in any order."""
        link = self.link(a, b)
        waiting, link.clogged = link.clogged or [], None
        link.chance.shuffle(waiting)
        for arrive in waiting:
            self._after(link.chance.uniform(0.0, self.delay), arrive)

    def clear(self) -> None:
        """Fair weather everywhere."""
        self.cuts.clear()
        for a, b in list(self.links):
            self.unclog(a, b)
            self.set_weather(a, b, Weather())


def _settle(reply: asyncio.Future[bytes], found: bytes | IntertieError) -> None:
    if reply.done():
        return
    if isinstance(found, bytes):
        reply.set_result(found)
    else:
        reply.set_exception(found)


class SimulatedCalls:
    """`ports.PeerTransport` of one site over the simulated network."""

    def __init__(self, site: str, network: Network, trusted: Callable[[Mapping[str, str]], None]) -> None:
        self.site = site
        self.network = network
        self._trusted = trusted

    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        return await self.network.call(self.site, peer, body, timeout)

    def trust(self, pins: Mapping[str, str]) -> None:
        self.network.trusted[self.site] = frozenset(pins)
        self._trusted(pins)
