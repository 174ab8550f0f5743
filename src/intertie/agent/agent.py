"""One site's memory and its one pen: every record is written here, durable before anybody else sees it.

`Agent` holds what the site knows (the table, the inventory, what packets said) and serialises writing: a decision
is taken on the table as it stands, committed, and applied, before the next one begins. Everything else of the shell
(exchange, round, probes, use cases) reads from it and writes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from intertie.agent.ports import Chance, Clock, Ids, Keys, Log, Store
from intertie.model.bodies import AnswerBody, Location
from intertie.model.errors import Unavailable
from intertie.model.items import Inventory
from intertie.model.records import Cursor, Draft, Kind, Order, Record
from intertie.model.storage import Batch, Committed, LocalEntry, Snapshot
from intertie.planning import trust
from intertie.planning.admit import Situation
from intertie.planning.advertise import advertise
from intertie.planning.enrol import enrolment
from intertie.planning.proposals import decide as decide_proposals
from intertie.planning.table import Table

Decide = Callable[[Situation], Iterable[Draft]]

START = Cursor()
SETTLE = 8
"""Turns of the decisions in one write. Each answers the one before; more than a few would be a fault of the rules."""
EVENTS = 1024
RECOVERY = "recovery"
"""The space of the local entry that stands from the loss of a store until all peers have told what they held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one site, from site.toml."""

    name: str
    version: str
    address: str = ""
    """host:port where peers call this site; "" behind NAT."""
    location: Location | None = None
    introductions: str = "ask"
    """accept, ask or never: what becomes of sites that a peer introduces."""
    heartbeat: float = 10.0
    call_timeout: float = 15.0
    round_every: float = 5.0
    probe_window: float = 6.0
    """Seconds for which a probe that crossed makes a pair `ready`."""
    probe_every: float = 1.0
    """Seconds between probes of a pair that has settled."""
    probe_budget: float = 50.0
    """Segment probes a second, at most, whatever the number of Vpns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, as /v1/events tells it."""

    seq: int
    at: datetime
    kind: str
    id: str
    site: str
    what: str


@dataclass(slots=True)
class Peer:
    """What is known of a peer's reachability; volatile."""

    last_seen: datetime | None = None
    rtt_ms: float | None = None
    failures: int = 0
    problem: str = ""
    boot: str = ""
    heard_at: float = float("-inf")
    """On the event loop's clock."""
    recovers: bool = False
    """It lost its store and asks for its records back,"""
    recovers_after: Cursor = START
    """from here on."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the agent needs of the world to keep records, and to say what it does."""

    store: Store
    keys: Keys
    clock: Clock
    ids: Ids
    chance: Chance
    log: Log


@dataclass(slots=True)
class News:
    """Wakes whoever waits for something to change."""

    _event: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout: float | None) -> bool:
        """True if something changed within `timeout` seconds."""
        event = self._event
        if timeout is None:
            return await event.wait()
        try:
            # Not wait_for: up to Python 3.11 it can swallow a cancellation.
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return False
        return True


class Agent:
    """See the module's docstring. `open` first."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.settings = settings
        self.ports = ports
        self.table = Table(settings.name)
        self.inventory = Inventory()
        self.peers: dict[str, Peer] = {}
        self.cursors: dict[str, Cursor] = {}
        self.acked: dict[str, Cursor] = {}
        self.local: dict[str, dict[str, str]] = {}
        self.blocked: dict[str, float] = {}
        """Vpn (id) → when a loop was last seen in its segment here, on the event loop's clock."""
        self.failures: dict[str, str] = {}
        """Network or host (id) → why the last round could not make it so."""
        self.boot = ports.ids.new()
        self.incarnation = 0
        self.recovering = False
        self.told_by: set[str] = set()
        """While recovering: the peers that have given back what they hold of this site's records."""
        self.news = News()
        self.whispers = 0
        """Rises when measured health or hosts change in a way that peers want to hear before the next heartbeat."""
        self.poke = asyncio.Event()
        self.events: list[Event] = []
        self._writing = asyncio.Lock()

    @property
    def site(self) -> str:
        return self.settings.name

    @property
    def situation(self) -> Situation:
        return Situation(self.table, self.inventory)

    def now(self) -> datetime:
        return self.ports.clock.now()

    async def open(self) -> Snapshot:
        """Read the store. Nothing is decided before that."""
        found = await self.ports.store.open(0)
        self.table = Table(self.site, found.records)
        self.cursors = dict(found.cursors)
        self.acked = dict(found.acked)
        self.local = {space: dict(entries) for space, entries in found.local.items()}
        self.incarnation = found.incarnation
        known = self.local.get(RECOVERY, {})
        begun = found.behind is not None or self._died_at_it(found, known.get("done"))
        self.recovering = begun or "since" in known
        if begun:
            # Opened once, the store looks whole: a restart meanwhile must not forget what is missing.
            await self.remember(LocalEntry(RECOVERY, "since", str(found.incarnation)))
        return found

    def _died_at_it(self, found: Snapshot, done: str | None) -> bool:
        """Whether an agent that found the store behind ended before it could note that: nothing was written yet in
        the incarnation that the store was given then."""
        last = max((r.order.incarnation for r in found.records if r.home == self.site), default=1)
        return found.incarnation > last and done != str(found.incarnation)

    def untold(self) -> Collection[str]:
        """While recovering, the peers that may still know of this site's past what it does not."""
        return trust.pins(self.table).keys() - self.told_by if self.recovering else ()

    def needs_its_past(self) -> None:
        """Unavailable while this site takes its own records back: it might give a number or range away twice."""
        if missing := self.untold():
            waiting = ", ".join(sorted(missing))
            raise Unavailable(
                f"{self.site} lost its store and waits for {waiting} to give back what they hold of its records",
                hint="try again when site list shows them up; forget those that are gone for good",
            )

    async def told(self, peer: str) -> None:
        """A peer has given back all it holds of this site's records."""
        self.told_by.add(peer)
        await self.recovered()
        await self.settle()

    async def recovered(self) -> None:
        """Ends the recovery if nobody is left who might know more: a peer has told all, or was forgotten."""
        if self.recovering and not self.untold():
            done = LocalEntry(RECOVERY, "done", str(self.incarnation))
            await self.remember(LocalEntry(RECOVERY, "since", None), done)
            self.recovering = False
            self.tell("recovered", "", self.site, "all peers have told what they held")
            self.ports.log.info("recovered", peers=sorted(self.told_by))
            self.whisper()  # peers hear of it, and tell what they measured of Vpns that are known here again

    # ── Writing ────────────────────────────────────────────────────────────────────────────────────────────

    async def write(self, decide: Decide, local: Sequence[LocalEntry] = ()) -> list[Record]:
        """Take a decision and make it durable, then whatever follows from it. Returns this site's new records.

        What `decide` raises reaches the caller, and nothing is written.
        """
        async with self._writing:
            drafts = tuple(decide(self.situation))
            written = await self._commit(Batch(drafts=drafts, local=tuple(local)))
            return [*written.written, *await self._settle(self._touched(written.written))]

    async def take(self, peer: str, records: Sequence[Record], cursor: Cursor | None, acked: Cursor) -> Committed:
        """Make a peer's verified records durable, then answer them: one turn of the pen."""
        async with self._writing:
            cursors: Mapping[str, Cursor | None] = {} if cursor is None else {peer: cursor}
            news = tuple(records)
            if not news and cursor == self.cursors.get(peer) and acked == self.acked.get(peer):
                return Committed()
            done = await self._commit(Batch(peers=news, cursors=cursors, acked={peer: acked}))
            await self._settle(self._touched(done.accepted))
            return done

    async def settle(self, ids: Collection[str] | None = None) -> list[Record]:
        """Say whatever is to be said now (the audit: `ids` None looks at everything)."""
        async with self._writing:
            return await self._settle(ids)

    async def remember(self, *entries: LocalEntry) -> None:
        """Make local values durable."""
        async with self._writing:
            await self._commit(Batch(local=entries))

    async def _settle(self, ids: Collection[str] | None) -> list[Record]:
        said: list[Record] = []
        for _ in range(SETTLE):
            drafts: list[Draft] = []
            if ids is None:
                drafts += enrolment(self.table, self.settings.introductions)
            # Who does not know its past (rule 18) may have decided them before, or ended what they change.
            decided = () if self.untold() else decide_proposals(self.situation, self.now())
            drafts += decided or advertise(self.situation, ids, self.untold())
            if not drafts:
                break
            written = (await self._commit(Batch(drafts=tuple(drafts)))).written
            said += written
            touched = self._touched(written)
            if not decided or touched is None:
                ids = touched
            elif ids is not None:
                ids = {*ids, *touched}  # what was to be looked at still is: proposals came first
        return said

    async def _commit(self, batch: Batch) -> Committed:
        if batch == Batch():
            return Committed()
        done = await self.ports.store.commit(batch, self._seal)
        for record in (*done.written, *done.accepted):
            self.table.apply(record)
        for peer, cursor in batch.cursors.items():
            self.cursors[peer] = max(cursor or Cursor(), self.cursors.get(peer, Cursor()))
        for peer, cursor in batch.acked.items():
            self.acked[peer] = cursor or Cursor()
        for entry in batch.local:
            space = self.local.setdefault(entry.space, {})
            if entry.value is None:
                space.pop(entry.key, None)
            else:
                space[entry.key] = entry.value
        for record in done.equivocations:
            self.tell("equivocation", record.id, record.home, "two records with one order: nothing of it is applied")
        self._compare(done.accepted)
        if done.written or done.accepted:
            for record in (*done.written, *done.accepted):
                self.tell(record.header.kind.value, record.id, record.home, _what(record))
                if record.header.kind is Kind.HOST:
                    self.whispers += 1
            self.poke.set()
            self.news.ring()
        return done

    def _compare(self, records: Iterable[Record]) -> None:
        """An answer names the bytes that it answers: others may have been shown other ones (rule 2)."""
        for record in records:
            body = record.body
            vpn = self.table.get(body.vpn) if isinstance(body, AnswerBody) else None
            if vpn is not None and vpn.order == body.order and vpn.digest != body.digest:
                self.tell("equivocation", vpn.id, vpn.home, f"{record.home} was shown another version of it")
                self.ports.log.warning("equivocation", vpn=vpn.id, home=vpn.home, seen_by=record.home)

    def _seal(self, draft: Draft, order: Order) -> Record:
        return self.ports.keys.seal(self.site, draft, order)

    def _touched(self, records: Iterable[Record]) -> Collection[str] | None:
        """The Vpns that records bear on; None (all) when trust changed."""
        ids: set[str] = set()
        for record in records:
            if record.header.kind is Kind.VPN:
                ids.add(record.id)
            elif isinstance(record.body, AnswerBody) or record.header.kind is Kind.PROPOSAL:
                ids.add(record.body.vpn)
            elif record.header.kind in (Kind.INTRODUCTION, Kind.FORGOTTEN, Kind.MAPPING, Kind.SITE):
                return None
        return ids

    # ── Loops ──────────────────────────────────────────────────────────────────────────────────────────────

    def loop_seen(self, vpn: str) -> None:
        """A frame of ours came back from the tenant side: the segment forwards nothing until `unblock`. Checks go on
        meanwhile, and each that still sees the loop puts that off."""
        new = vpn not in self.blocked
        self.blocked[vpn] = asyncio.get_running_loop().time()
        if new:
            self.tell("loop", vpn, self.site, "a loop was seen: the segment is blocked here")
            self.poke.set()
            self.news.ring()

    def unblock(self, after: timedelta) -> None:
        """Let segments forward again in which no loop was seen for `after`."""
        now = asyncio.get_running_loop().time()
        for vpn in [v for v, since in self.blocked.items() if now - since >= after.total_seconds()]:
            del self.blocked[vpn]
            self.tell("loop", vpn, self.site, "no loop is seen any more: the segment forwards again")
            self.poke.set()

    def whisper(self) -> None:
        """What is measured here changed: peers are told soon."""
        self.whispers += 1
        self.news.ring()

    # ── Telling ────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, kind: str, id: str, site: str, what: str) -> None:
        """Note a change for whoever watches."""
        seq = self.events[-1].seq + 1 if self.events else 1
        self.events.append(Event(seq=seq, at=self.now(), kind=kind, id=id, site=site, what=what))
        del self.events[:-EVENTS]

    def peer(self, name: str) -> Peer:
        return self.peers.setdefault(name, Peer())

    def pins(self) -> dict[str, Any]:
        return dict(trust.pins(self.table))


def _what(record: Record) -> str:
    if isinstance(record.body, AnswerBody):
        return f"{record.body.word.value} {record.body.vpn}"
    return record.header.state.value
