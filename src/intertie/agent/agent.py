"""One site's memory and its one pen: every record is written here, durable before anybody else sees it.

`Agent` holds what the site knows (the table, the inventory, what packets said) and serialises writing: a decision
is taken on the table as it stands, committed, and applied, before the next one begins. Everything else of the shell
(exchange, round, probes, use cases) reads from it and writes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from intertie.agent.causes import Causes
from intertie.agent.complaints import Complaints
from intertie.agent.figures import Figures
from intertie.agent.ports import Chance, Clock, Ids, Keys, Log, Store, Tracer, Untraced
from intertie.agent.recovery import LINEAGE, RECOVERY, said_again, since
from intertie.agent.state import Event, News, Peer
from intertie.agent.taking import Heard, Waiting, batch_of
from intertie.agent.telling import note, said
from intertie.agent.yielded import SPACE as SUPERSEDED
from intertie.agent.yielded import shown as yielded
from intertie.agent.yielded import yielding
from intertie.model.bodies import AnswerBody, Location
from intertie.model.errors import Unavailable
from intertie.model.items import Inventory
from intertie.model.records import Cursor, Draft, Kind, Order, Record
from intertie.model.storage import Batch, Committed, LocalEntry, Snapshot
from intertie.planning import trust
from intertie.planning.admit import Situation
from intertie.planning.advertise import advertise
from intertie.planning.enrol import enrolment
from intertie.planning.hearing import SPOKEN
from intertie.planning.proposals import decide as decide_proposals
from intertie.planning.table import Table

Decide = Callable[[Situation], Iterable[Draft]]

START = Cursor()
SETTLE = 8
"""Turns of the decisions in one write. Each answers the one before; more than a few would be a fault of the rules."""
REACH = 1024
"""Incarnations by which a peer's word may be ahead of this site's own count, and be believed."""


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
    certificate_days: float = 30.0
    """Days before its end from which a certificate is warned of."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the agent needs of the world to keep records, and to say what it does."""

    store: Store
    keys: Keys
    clock: Clock
    ids: Ids
    chance: Chance
    log: Log
    tracer: Tracer = field(default_factory=Untraced)


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
        self.silent: frozenset[str] = frozenset()
        """Peers that were not heard of late, as the last round found them."""
        self.blocked: dict[str, float] = {}
        """Vpn (id) → when a loop was last seen in its segment here, on the event loop's clock."""
        self.failures: dict[str, str] = {}
        """Network or host (id) → why the last round could not make it so."""
        self.boot = ports.ids.new()
        """Of this process."""
        self.lineage = self.boot
        """Of the store: what peers compare to tell clones apart."""
        self.incarnation = 0
        self.last = START
        """The last place in the order that this site gave,"""
        self.opened = START
        """and the last that it had given when its lineage began."""
        self.recovering = False
        self.told_by: set[str] = set()
        """While recovering: the peers that have given back what they hold of this site's records."""
        self.disputed: dict[str, Record] = {}
        """While recovering: own records (id) of which a peer holds other bytes of the same order."""
        self.accusers: set[str] = set()
        """Peers that hear another agent write as this site."""
        self.news = News()
        self.whispers = 0
        """Rises when measured health or hosts change in a way that peers want to hear before the next heartbeat."""
        self.poke = asyncio.Event()
        self.events: list[Event] = []
        self.figures = Figures()
        self.causes = Causes(settings.name)
        self.complaints = Complaints()
        self._writing, self._waiting = asyncio.Lock(), Waiting()

    @property
    def site(self) -> str:
        return self.settings.name

    @property
    def situation(self) -> Situation:
        return Situation(self.table, self.inventory, self.silent)

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
        self.last = self.opened = Cursor(found.incarnation, found.seq)
        self.lineage = found.lineage or self.boot
        known = self.local.get(RECOVERY, {})
        begun = found.behind is not None or self._died_at_it(found, known.get("done"))
        self.recovering = begun or "since" in known
        if begun:
            # Opened once, the store looks whole: a restart meanwhile must not forget what is missing.
            await self.remember(since(found.incarnation))
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
        self.speaks_alone()
        if missing := self.untold():
            waiting = ", ".join(sorted(missing))
            raise Unavailable(
                f"{self.site} lost its store and waits for {waiting} to give back what they hold of its records",
                hint="try again when site list shows them up; forget those that are gone for good",
            )

    def cloned_at(self) -> list[str]:
        """The peers that quarantine this site (rule 18)."""
        return sorted(self.accusers & trust.pins(self.table).keys()) if self.accusers else []

    def speaks_alone(self) -> None:
        """Unavailable while peers hear another agent write as this site."""
        if by := self.cloned_at():
            raise Unavailable(
                f"two agents on two stores write as {self.site}: {', '.join(by)} takes nothing of either",
                hint=f"end one of them (a copy of the machine?), then wait, or say at {', '.join(by)}: "
                f"intertie site approve {self.site}; a copy that is to live on needs a name and key of its own",
            )

    async def behind(self, peer: str, seen: Cursor, of: str = "") -> bool:
        """Begin to recover if a peer has read this site further than it had come when it opened its store: an older
        copy of all that it knew was put back. `of`: the lineage that was read; "": of the one or the other. Whether
        that is so, and can be."""
        if seen.incarnation > self.incarnation + REACH:
            self.complaints.hear(self, peer, (f"it says that it has read {self.site} beyond any possible place",))
            return False
        async with self._writing:
            if of == self.lineage or seen <= (self.opened if of else self.last):
                return False
            incarnation = max(self.incarnation, seen.incarnation) + 1
            await self._commit(Batch(incarnation_at_least=incarnation, local=(since(incarnation),)))
            self.incarnation, self.last = incarnation, Cursor(incarnation, self.last.seq)
            self.opened = self.last
            if not self.recovering:
                self.recovering = True
                self.told_by.clear()
        self.warn(
            "recovering", "", self.site, f"{peer} knows more of this site than it does: its store is an old one"
        )
        self.whisper()  # it asks them all now
        return True

    def read_of(self, peer: str) -> str:
        """The lineage of the peer that was read last; "": none."""
        return self.local.get(LINEAGE, {}).get(peer, "")

    async def read_anew(self, peer: str) -> None:
        """The peer is behind its past: what it wrote where it had been read already is to be read as well."""
        async with self._writing:
            await self._commit(Batch(cursors={peer: None}))

    async def told(self, peer: str) -> None:
        """A peer has given back all it holds of this site's records."""
        self.told_by.add(peer)
        await self.recovered()
        await self.settle()

    async def recovered(self) -> None:
        """Ends the recovery if nobody is left who might know more: a peer has told all, or was forgotten."""
        if self.recovering and not self.untold() and not self.cloned_at():
            await self.write(lambda s: said_again(s.table, self.disputed))
            self.disputed.clear()
            done = LocalEntry(RECOVERY, "done", str(self.incarnation))
            await self.remember(LocalEntry(RECOVERY, "since", None), done)
            self.recovering = False
            self.tell("recovered", "", self.site, "all peers have told what they held")
            self.whisper()  # peers hear of it, and tell what they measured of Vpns that are known here again

    # ── Writing ────────────────────────────────────────────────────────────────────────────────────────────

    async def write(self, decide: Decide, local: Sequence[LocalEntry] = ()) -> list[Record]:
        """Take a decision and make it durable, then whatever follows from it. Returns this site's new records.

        What `decide` raises reaches the caller, and nothing is written.
        """
        async with self._writing:
            drafts = tuple(decide(self.situation))
            if any(draft.kind in SPOKEN for draft in drafts):
                self.speaks_alone()
            written = await self._commit(Batch(drafts=drafts, local=tuple(local)))
            return [*written.written, *await self._settle(self.table.touched(written.written))]

    async def take(
        self, peer: str, records: Sequence[Record], cursor: Cursor | None, acked: Cursor, of: str = ""
    ) -> Committed:
        """Make a peer's verified records durable, then answer them, with all that waits. `of`: its lineage."""
        return await self._waiting.turn(Heard(peer, tuple(records), cursor, acked, of), self._writing, self._take)

    async def _take(self, group: Sequence[Heard]) -> Committed:
        news = [h for h in group if h.is_news(self.cursors, self.acked)]
        if not news:
            return Committed()
        moved = [h for h in news if h.moves(self.cursors) and h.of != self.read_of(h.peer)]
        records = [r for h in news for r in h.records]
        kept = yielding(self.table, self.local.get(SUPERSEDED, {}), records, self.now())
        done = await self._commit(batch_of(news, (*kept, *(LocalEntry(LINEAGE, h.peer, h.of) for h in moved))))
        self._tell_yielded(kept)
        await self._settle(self.table.touched(done.accepted))
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
        for _ in range(0 if self.cloned_at() else SETTLE):
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
            touched = self.table.touched(written)
            if not decided or touched is None:
                ids = touched
            elif ids is not None:
                ids = {*ids, *touched}  # what was to be looked at still is: proposals came first
        return said

    async def _commit(self, batch: Batch) -> Committed:
        if batch == Batch():
            return Committed()
        done = await self.figures.commit(self.ports.store.commit(batch, self._seal))
        self.causes.written(done.written)
        for record in (*done.written, *done.accepted):
            self.table.apply(record)
            if record.home == self.site:
                self.last = max(self.last, record.cursor)
        for peer, cursor in batch.cursors.items():
            self.cursors[peer] = START if cursor is None else max(cursor, self.cursors.get(peer, START))
        for peer, cursor in batch.acked.items():
            self.acked[peer] = cursor or Cursor()
        for entry in batch.local:
            space = self.local.setdefault(entry.space, {})
            if entry.value is None:
                space.pop(entry.key, None)
            else:
                space[entry.key] = entry.value
        for record in done.equivocations:
            self.warn("equivocation", record.id, record.home, "two records with one order: nothing of it is applied")
        self._compare(done.accepted)
        if done.written or done.accepted:
            for record in (*done.written, *done.accepted):
                self.tell(record.header.kind.value, record.id, record.home, said(record))
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
                self.warn("equivocation", vpn.id, vpn.home, f"{record.home} was shown another version of it")

    def _tell_yielded(self, kept: Iterable[LocalEntry]) -> None:
        for id in dict.fromkeys(e.key.partition(" ")[0] for e in kept if e.value is not None):
            vpn = self.table.get(id)
            for lost in yielded(self.local[SUPERSEDED], vpn, self.now())[-1:] if vpn is not None else ():
                what = f"version {lost.version} of {self.site} yielded to {lost.by}, which adopted it: {lost.what}"
                self.warn("superseded", id, lost.by, what)

    def _seal(self, draft: Draft, order: Order) -> Record:
        return self.ports.keys.seal(self.site, draft, order)

    # ── Loops ──────────────────────────────────────────────────────────────────────────────────────────────

    def loop_seen(self, vpn: str) -> None:
        """A frame of ours came back from the tenant side: the segment forwards nothing until `unblock`. Checks go on
        meanwhile, and each that still sees the loop puts that off."""
        new = vpn not in self.blocked
        self.blocked[vpn] = asyncio.get_running_loop().time()
        if new:
            self.warn("loop", vpn, self.site, "a loop was seen: the segment is blocked here")
            self.poke.set()
            self.news.ring()

    def listen(self, limit: float) -> bool:
        """Note which peers were not heard for `limit` seconds; whether that changed."""
        since = asyncio.get_running_loop().time() - limit
        before = self.silent
        peers = [(site, self.peer(site)) for site in trust.pins(self.table)]
        self.silent = frozenset(site for site, p in peers if p.heard_at < since or p.failures > 2)
        return self.silent != before

    def unblock(self, after: timedelta) -> None:
        """Let segments forward again in which no loop was seen for `after`."""
        now = asyncio.get_running_loop().time()
        for vpn in [v for v, seen in self.blocked.items() if now - seen >= after.total_seconds()]:
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
        note(self, self.ports.log.info, kind, (id, site), what)

    def warn(self, kind: str, id: str, site: str, what: str) -> None:
        """`tell`, of what an operator should look at."""
        note(self, self.ports.log.warning, kind, (id, site), what)

    def peer(self, name: str) -> Peer:
        return self.peers.setdefault(name, Peer())

    def pins(self) -> dict[str, Any]:
        return dict(trust.pins(self.table))
