"""One site's memory and its one pen: every record is written here, durable before anybody else sees it.

`Agent` holds what the site knows (the table, the inventory, what packets said) and serialises writing: a decision
is taken on the table as it stands, committed, and applied, before the next one begins. Everything else of the shell
(exchange, round, probes, use cases) reads from it and writes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from intertie.agent.memory import Memory
from intertie.agent.recovery import LINEAGE, RECOVERY, said_again, since
from intertie.agent.state import START, News, Peer, Ports, Settings
from intertie.agent.taking import Heard, Judge, Waiting, batch_of
from intertie.agent.telling import said
from intertie.agent.yielded import SPACE as SUPERSEDED
from intertie.agent.yielded import shown as yielded
from intertie.agent.yielded import yielding
from intertie.model.bodies import AnswerBody
from intertie.model.errors import IntertieError, Unavailable
from intertie.model.records import Cursor, Draft, Kind, Order, Record
from intertie.model.storage import Batch, Change, Committed, LocalEntry, Overtaken, Snapshot
from intertie.model.views import Event
from intertie.planning import trust
from intertie.planning.admit import Situation
from intertie.planning.advertise import advertise
from intertie.planning.enrol import enrolment
from intertie.planning.hearing import SPOKEN
from intertie.planning.proposals import decide as decide_proposals
from intertie.planning.table import Table

Decide = Callable[[Situation], Iterable[Draft]]
__all__ = ["Agent", "Event", "News", "Peer", "Ports", "Settings"]

NOTHING = Committed()
"""What becomes of a batch with nothing in it."""
SETTLE = 8
"""Turns of the decisions in one write. Each answers the one before; more than a few would be a fault of the rules."""
REACH = 1024
"""Incarnations by which a peer's word may be ahead of this site's own count, and be believed."""


class Agent(Memory):
    """See the module's docstring. `open` first."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        super().__init__(settings, ports)
        self._writing, self._waiting = asyncio.Lock(), Waiting()

    async def open(self) -> Snapshot:
        """Read the store. Nothing is decided before that."""
        found = await self.ports.store.open(0)
        self.table = Table(self.site, found.records)
        self.cursors = dict(found.cursors)
        self.acked = dict(found.acked)
        self.local = {space: dict(entries) for space, entries in found.local.items()}
        self.incarnation = found.incarnation
        self.last = self.opened = Cursor(found.incarnation, found.seq)
        if found.opened is not None and found.opened.incarnation == found.incarnation:
            self.opened = found.opened  # by the first of those that share the store
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
            incarnation = 0

            def raised() -> Batch:
                nonlocal incarnation
                known = of == self.lineage or seen <= (self.opened if of else self.last)
                incarnation = 0 if known else max(self.incarnation, seen.incarnation) + 1
                return Batch() if known else Batch(incarnation_at_least=incarnation, local=(since(incarnation),))

            await self._decided(raised)
            if not incarnation:
                return False
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
            await self._decided(lambda: Batch(cursors={peer: None}))

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

        def decided() -> Batch:
            drafts = tuple(decide(self.situation))
            if any(draft.kind in SPOKEN for draft in drafts):
                self.speaks_alone()
            return Batch(drafts=drafts, local=tuple(local))

        async with self._writing:
            written = await self._decided(decided)
            return [*written.written, *await self._settle(self.table.touched(written.written))]

    async def take(self, peer: str, judge: Judge, acked: Cursor, of: str = "") -> Committed:
        """Make a peer's verified records durable, then answer them, with all that waits. `of`: its lineage."""
        heard = Heard(peer, judge, acked, of)
        if self.ports.shared is None:
            heard.judge()  # alone, this agent knows all by which it judges; among several only when it has the pen
        return await self._waiting.turn(heard, self._writing, self._take)

    async def _take(self, group: Sequence[Heard]) -> Committed:
        kept: Iterable[LocalEntry] = ()

        def told() -> Batch:
            nonlocal kept
            if self.ports.shared is not None:
                for heard in group:
                    heard.judge()
            news = [h for h in group if h.is_news(self.cursors, self.acked)]
            if not news:
                return Batch()
            moved = [h for h in news if h.moves(self.cursors) and h.of != self.read_of(h.peer)]
            records = [r for h in news for r in h.records]
            kept = yielding(self.table, self.local.get(SUPERSEDED, {}), records, self.now())
            return batch_of(news, (*kept, *(LocalEntry(LINEAGE, h.peer, h.of) for h in moved)))

        done = await self._decided(told)
        if done is not NOTHING:
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
            await self._decided(lambda: Batch(local=entries))

    async def _decided(self, decide: Callable[[], Batch]) -> Committed:
        """Commit what is decided on the table as it stands; anew, as often as another agent of the site was first."""
        while True:
            try:
                batch = decide()
            except IntertieError:
                # A refusal is a decision, too: it must not come from what stands no more.
                if not await self._catch_up():
                    raise
                continue
            try:
                return await self._commit(batch)
            except Overtaken as first:
                self._take_over(first.change)

    async def _settle(self, ids: Collection[str] | None) -> list[Record]:
        said: list[Record] = []
        turns = 0
        while turns < (0 if self.cloned_at() else SETTLE):
            drafts: list[Draft] = []
            if ids is None:
                drafts += enrolment(self.table, self.settings.introductions)
            # Who does not know its past (rule 18) may have decided them before, or ended what they change.
            decided = () if self.untold() else decide_proposals(self.situation, self.now())
            drafts += decided or advertise(self.situation, ids, self.untold())
            if not drafts:
                break
            try:
                written = (await self._commit(Batch(drafts=tuple(drafts)))).written
            except Overtaken as first:
                self._take_over(first.change)
                continue
            turns += 1
            said += written
            touched = self.table.touched(written)
            if not decided or touched is None:
                ids = touched
            elif ids is not None:
                ids = {*ids, *touched}  # what was to be looked at still is: proposals came first
        return said

    async def _commit(self, batch: Batch) -> Committed:
        if batch == Batch():
            return NOTHING
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
        self._keep(batch.local)
        for record in done.equivocations:
            self.warn("equivocation", record.id, record.home, "two records with one order: nothing of it is applied")
        self._compare(done.accepted)
        self._tell_of((*done.written, *done.accepted))
        return done

    def _keep(self, entries: Iterable[LocalEntry]) -> None:
        for entry in entries:
            space = self.local.setdefault(entry.space, {})
            if entry.value is None:
                space.pop(entry.key, None)
            else:
                space[entry.key] = entry.value

    def _tell_of(self, records: Sequence[Record]) -> None:
        """Records that are new here."""
        for record in records:
            self.tell(record.header.kind.value, record.id, record.home, said(record))
            if record.header.kind is Kind.HOST:
                self.whispers += 1
        if records:
            self.poke.set()
            self.news.ring()

    # ── Several agents on one store ────────────────────────────────────────────────────────────────────────

    async def catch_up(self) -> None:
        """Know what other agents of this site have written. StorageError if that cannot be known."""
        if self.ports.shared is not None:
            async with self._writing:
                await self._catch_up()

    async def _catch_up(self) -> bool:
        """Whether there was anything."""
        change = await self.ports.shared.catch_up() if self.ports.shared is not None else None
        if change is not None:
            self._take_over(change)
        return change is not None

    def _take_over(self, change: Change) -> None:
        """What another agent of this site made durable is known here too, and told as one's own."""
        standing = ((r, self.table.get(r.id)) for r in change.records)
        news = [r for r, old in standing if old is None or old.raw != r.raw]
        for id in change.dropped:
            self.table.drop(id)
        for record in news:
            self.table.apply(record)
            if record.home == self.site:
                self.last = max(self.last, record.cursor)
        for held, told in ((self.cursors, change.cursors), (self.acked, change.acked)):
            held.update({peer: START if cursor is None else cursor for peer, cursor in told.items()})
        self._keep(change.local)
        if change.incarnation > self.incarnation:
            # Another agent found that the store is behind its past: see `behind`.
            self.incarnation, self.last = change.incarnation, Cursor(change.incarnation, self.last.seq)
            self.opened = self.last
            self.told_by.clear()
        self.recovering = "since" in self.local.get(RECOVERY, {})
        self._compare(r for r in news if r.home != self.site)
        self.overtaken_by += news
        self._tell_of(news)
        self.news.ring()

    async def settle_others(self) -> None:
        """Say what follows from others' writing: who wrote it does so at once, unless it died."""
        news, self.overtaken_by = self.overtaken_by, []
        if news:
            await self.settle(self.table.touched(news))

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
