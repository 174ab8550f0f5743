"""Health from packets: probes inside every segment, under one budget; nothing is ready because it is configured.

Each pair (Vpn, other member) of this site is probed in rotation. `ready` means that a probe crossed within the
window; after it, the pair is `down` if the other agent can be reached but its segment cannot, and `unknown` if it
is silent altogether: then nobody there would answer a probe, and forwarding may well go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from intertie.agent.agent import Agent
from intertie.agent.ports import LinkProbes, SegmentProbes
from intertie.model.items import Segment
from intertie.model.records import Order, Record
from intertie.model.views import Health as State
from intertie.model.wire import ToldSight
from intertie.planning.status import UNPROBED, Sight, Sights

TIMEOUT = 1.0
EAGER = 0.15
"""Seconds between probes of a pair that has not been ready yet: a new Vpn is shown ready as soon as it is."""
HISTORY = 20
AGAIN = 30.0
"""Seconds after which a pair is told again though its health is the same: RTT and loss move, and words get lost."""


@dataclass(slots=True)
class Pair:
    """What probes of one pair said."""

    segment: Segment
    tries: deque[bool] = field(default_factory=lambda: deque(maxlen=HISTORY))
    crossed: deque[bool] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """Of the tries that the agent there could answer: what a silent agent misses is no loss of the path."""
    rtt_ms: float | None = None
    last_try: float = 0.0
    last_ok: datetime | None = None
    crossed_at: float = float("-inf")
    """The same moment on the event loop's clock, which nobody sets."""
    link_ok: bool = False
    told: State = State.UNKNOWN
    """The last word that was told of it as an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """The way to another site: RTT in ms, loss 0..1 of the last probes, and octets of the largest tenant packet that
    was seen to cross when somebody asked last; None where it is not known."""

    rtt_ms: float | None
    loss: float | None
    mtu: int | None


class Health:
    """Probes the pairs of this site, and keeps what the other sites told of theirs."""

    def __init__(self, agent: Agent, segments: SegmentProbes, links: LinkProbes) -> None:
        self.agent = agent
        self._segments = segments
        self._links = links
        self._watched: tuple[Segment, ...] = ()
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._told: dict[tuple[str, str, str], Sight] = {}
        self._tellings: dict[str, dict[tuple[str, str], tuple[State, Order, float]]] = {}
        """peer → (vpn, member) → what it was told of the pair, by which version of the Vpn, and when."""
        self._proved: dict[str, int | None] = {}
        """site → octets of the last full-size probe to it; None if that was lost."""
        self._wake = asyncio.Event()

    async def watch(self, segments: tuple[Segment, ...]) -> None:
        """Probe these segments from now on, but for those that nothing of ours is on."""
        segments = tuple(s for s in segments if s.transport not in UNPROBED)
        self._watched = segments
        await self.keep()
        wanted = {(s.vpn, r.site): s for s in segments for r in s.remotes}
        for key in self._pairs.keys() - wanted.keys():
            del self._pairs[key]
        for key, segment in wanted.items():
            self._pairs.setdefault(key, Pair(segment)).segment = segment
        standing = {v.id for v, _ in self.agent.table.vpns()}
        self._told = {k: s for k, s in self._told.items() if k[0] in standing}
        self._wake.set()

    async def keep(self) -> None:
        """The segments are those of before; one that could not be opened yet is tried again."""
        await self._segments.set_segments(self._watched)

    async def check_loops(self) -> None:
        """Look for loops now; blocked segments try again after a while, and are looked at at once."""
        await self._segments.check_loops(None)

    async def run(self) -> None:
        """Probe in rotation until cancelled."""
        loop = asyncio.get_running_loop()
        running: set[asyncio.Task[None]] = set()
        gap = 1.0 / self.agent.settings.probe_budget
        try:
            while True:
                due = min(self._pairs.items(), key=lambda item: self._due(item[1]), default=None)
                wait = self._due(due[1]) - loop.time() if due is not None else 60.0
                if due is None or wait > 0:
                    self._wake.clear()
                    await _sleep_until(self._wake, wait)
                    continue
                due[1].last_try = loop.time()
                task = asyncio.create_task(self._probe(*due[0], due[1]))
                running.add(task)
                task.add_done_callback(running.discard)
                await asyncio.sleep(gap)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _due(self, pair: Pair) -> float:
        settled = pair.last_ok is not None or len(pair.tries) == HISTORY
        return pair.last_try + (self.agent.settings.probe_every if settled else EAGER)

    async def _probe(self, vpn: str, site: str, pair: Pair) -> None:
        rtt = await self._segments.probe(vpn, site, None, TIMEOUT)
        before = self._state(pair)
        pair.tries.append(rtt is not None)
        if rtt is not None:
            pair.rtt_ms, pair.last_ok, pair.link_ok = rtt, self.agent.now(), True
            pair.crossed_at = asyncio.get_running_loop().time()
            pair.crossed.append(True)
        else:
            pair.link_ok = await self.link(pair.segment, site) is not None
            if pair.link_ok and pair.last_ok is not None:
                pair.crossed.append(False)
        now = self._state(pair)
        if now is not pair.told:
            # `ready` also fades by itself, between two probes.
            self.agent.tell("health", vpn, site, f"{pair.told.value} → {now.value}")
            pair.told = now
        if now is not before:
            self.agent.whisper()

    async def link(self, segment: Segment, site: str) -> float | None:
        """RTT in ms over the underlay to a member of the segment; None if nothing came back."""
        for remote in segment.remotes:
            if remote.site == site and remote.endpoints:
                return await self._links.probe(remote.endpoints[0].address, TIMEOUT)
        return None

    def seen_by_others(self, vpn: str, site: str) -> bool:
        """Whether another member's probes cross to `site` now: then an agent runs there, whatever is heard here."""
        return any(
            id == vpn and to == site and by != self.agent.site and sight.health is State.READY
            for (id, by, to), sight in self.sights().items()
        )

    async def segment_probe(self, vpn: str, site: str, size: int | None) -> float | None:
        """One probe now, of `size` octets of tenant packet."""
        rtt = await self._segments.probe(vpn, site, size, TIMEOUT)
        if size is not None:
            self._proved[site] = size if rtt is not None else None
        return rtt

    def _state(self, pair: Pair) -> State:
        if asyncio.get_running_loop().time() - pair.crossed_at <= self.agent.settings.probe_window:
            return State.READY
        recent = list(pair.tries)[-3:]
        # A tunnel that is just being built at the other end loses a probe or two: three in a row are a word.
        return State.DOWN if len(recent) == 3 and not any(recent) and pair.link_ok else State.UNKNOWN

    # ── Telling and hearing ────────────────────────────────────────────────────────────────────────────────

    def sights(self) -> Sights:
        """All that is known now: measured here, and told by others (the word of a silent site fades to unknown)."""
        return {key: self._faded(key, sight) for key, sight in self._told.items()} | self._mine()

    def sights_of(self, vpn: Record) -> Sights:
        """What is known of one Vpn, without a look at the others."""
        id, sites = vpn.id, vpn.header.names
        keys = ((id, a, b) for a in sites for b in sites)
        told = {key: self._faded(key, sight) for key in keys if (sight := self._told.get(key)) is not None}
        now = self.agent.now()
        mine = ((site, self._pairs.get((id, site))) for site in sites)
        return told | {(id, self.agent.site, s): self._sight(p, now) for s, p in mine if p is not None}

    def _faded(self, key: tuple[str, str, str], sight: Sight) -> Sight:
        """What another site told, as far as it still holds."""
        peer = self.agent.peer(key[1])
        window = self.agent.settings.probe_window + self.agent.settings.heartbeat
        if asyncio.get_running_loop().time() - peer.heard_at > window:
            return replace(sight, health=State.UNKNOWN)
        # It would have told of a change: its word held when it last spoke.
        return replace(sight, probed_at=peer.last_seen if sight.health is State.READY else sight.probed_at)

    def tell(self, peer: str) -> tuple[ToldSight, ...]:
        """What this site measured of Vpns that the peer is a member of: what changed since it was told, and all of it
        now and then."""
        now, moment = self.agent.now(), asyncio.get_running_loop().time()
        told = self._tellings.setdefault(peer, {})
        news = []
        for (vpn, _, site), sight in self._mine().items():
            record = self.agent.table.get(vpn)
            if record is None or peer not in record.header.names:
                continue
            # By the version, since who left and came back has forgotten what it was told.
            health, order, at = told.get((vpn, site), (None, None, moment))
            if (health, order) == (sight.health, record.order) and moment - at < AGAIN:
                continue
            told[(vpn, site)] = (sight.health, record.order, moment)
            age = max((now - sight.probed_at).total_seconds(), 0.0) if sight.probed_at else 0.0
            news.append(
                ToldSight(vpn=vpn, to=site, health=sight.health.value, rtt_ms=sight.rtt_ms, loss=sight.loss, age=age)
            )
        return tuple(news)

    def unheard(self, peer: str) -> None:
        """What the peer was told may not have reached it."""
        self._tellings.pop(peer, None)

    def _mine(self) -> dict[tuple[str, str, str], Sight]:
        """What is measured here."""
        now = self.agent.now()
        return {(vpn, self.agent.site, site): self._sight(p, now) for (vpn, site), p in self._pairs.items()}

    def _sight(self, pair: Pair, now: datetime) -> Sight:
        loss = 1 - sum(pair.crossed) / len(pair.crossed) if pair.crossed else None
        return Sight(health=self._state(pair), rtt_ms=pair.rtt_ms, loss=loss, probed_at=pair.last_ok, said_at=now)

    def measured(self) -> dict[tuple[str, str], Sight]:
        """(vpn, other member) → what is measured here."""
        return {(vpn, site): sight for (vpn, _, site), sight in self._mine().items()}

    def links(self) -> dict[str, LinkView]:
        """Each site that a segment leads to, as the segments' probes see the way there."""
        found: dict[str, LinkView] = {}
        for site in sorted({s for _, s in self._pairs}):
            pairs = [p for (_, s), p in self._pairs.items() if s == site]
            rtts = [p.rtt_ms for p in pairs if p.rtt_ms is not None and self._state(p) is State.READY]
            crossed = [c for p in pairs for c in p.crossed]
            loss = 1 - sum(crossed) / len(crossed) if crossed else None
            found[site] = LinkView(rtt_ms=min(rtts, default=None), loss=loss, mtu=self._proved.get(site))
        return found

    def heard(self, peer: str, told: tuple[ToldSight, ...]) -> None:
        """Take in a peer's word on pairs that it measured; only on Vpns that name it."""
        now = self.agent.now()
        for t in told:
            record = self.agent.table.get(t.vpn)
            named = record.header.names if record is not None else ()
            if peer not in named or t.to not in named or t.health not in set(State):
                continue
            at = now - timedelta(seconds=max(t.age, 0.0)) if t.health == State.READY or t.age else None
            self._told[(t.vpn, peer, t.to)] = Sight(
                health=State(t.health), rtt_ms=t.rtt_ms, loss=t.loss, probed_at=at, said_at=now
            )


async def _sleep_until(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0.01)):
            await event.wait()
