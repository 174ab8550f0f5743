"""The oracle's picture of a federation: disks, clouds, planes, what users asked for, and what the story broke.

Kept incrementally from what a `Watcher` is told; nothing here judges. Sites are never asked: what an agent believes
is on trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from intertie.model.bodies import (
    AnswerBody,
    Attachment,
    ForgottenBody,
    IntroductionBody,
    Prefix,
    VpnBody,
    Word,
)
from intertie.model.items import Item, Key, Segment, key
from intertie.model.records import Cursor, Kind, Order, Record
from intertie.planning.identity import answer_id, made_network
from intertie.testing.simulator.story import Step, Verb, Violation

if TYPE_CHECKING:
    from intertie.testing.simulator.oracle import Outside

AGREED = frozenset({Word.ACCEPTED, Word.HELD, Word.DRAINED})
MOST = 40
"""Violations that are kept of one story: the first ones tell what happened."""
LATELY = 700.0
"""Seconds for which a reason may have been decided on before it is carried out: the longest pause, and some more."""

Disk = dict[str, Record]


@dataclass(slots=True)
class Wishes:
    """What users asked for a Vpn of one name, ever: whatever happens to it must be one of these."""

    deleted: bool = False
    forced: bool = False
    changes: list[frozenset[str]] = field(default_factory=list)
    """The members that a change was to give it."""

    def without(self, site: str) -> bool:
        """Whether somebody asked for the Vpn without that member."""
        return any(site not in members for members in self.changes)


@dataclass(slots=True)
class Scene:
    """See the module's docstring."""

    view: Outside
    disks: dict[str, Disk] = field(default_factory=dict)
    copied: dict[str, float] = field(default_factory=dict)
    """Site → when its disk was last copied."""
    past: dict[tuple[str, str], list[tuple[float, Record]]] = field(default_factory=dict)
    """(site, id of a Vpn or answer) → its versions on that disk, and since when."""
    clouds: dict[str, dict[Key, Item]] = field(default_factory=dict)
    planes: dict[str, dict[Key, Segment]] = field(default_factory=dict)
    first: dict[tuple[str, Order], bytes] = field(default_factory=dict)
    """Every version that was ever forced at its home → its bytes."""
    last: dict[str, Cursor] = field(default_factory=dict)
    """Site → the highest place that it ever gave to a record of its own."""
    top: dict[str, Record] = field(default_factory=dict)
    """Id → the highest version on any disk."""
    born: dict[str, tuple[float, VpnBody]] = field(default_factory=dict)
    """Vpn (id) → when it was first forced, and what it said then."""
    names: dict[str, set[str]] = field(default_factory=dict)
    """Name of a Vpn → the ids that had it."""
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Id of a network that is made for a Vpn → (site, vpn)."""
    wishes: dict[str, Wishes] = field(default_factory=dict)
    """Name of a Vpn → what was asked for it."""
    dropped: set[tuple[str, str]] = field(default_factory=set)
    """(site, name) of networks and hosts that somebody asked to delete."""
    forgot: set[tuple[str, str]] = field(default_factory=set)
    """(site, other): a user asked the one to forget the other, at any time."""
    rolled: dict[str, float] = field(default_factory=dict)
    """Site → when it last lost its store or was put back to an old one."""
    floors: dict[str, Order | None] = field(default_factory=dict)
    """Id → the best version that survived the loss of a store which held a better one; None: nothing did."""
    liars: set[str] = field(default_factory=set)
    clones: set[str] = field(default_factory=set)
    unaware: set[str] = field(default_factory=set)
    """Sites that were put back whole, and cannot know by themselves; until they write above all that they had."""
    put_back: set[str] = field(default_factory=set)
    """Sites that ever were."""
    violations: list[Violation] = field(default_factory=list)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def look(self) -> None:
        """Take in what is there already."""
        for site in self.view.sites():
            self.force(0.0, site, self.view.records(site).values())
            system, plane = self.view.system(site), self.view.underlay().segments.get(site, {})
            items: list[Item] = [b.network for b in system.bridges.values() if b.network is not None]
            self.clouds[site] = {key(i): i for i in [*items, *system.hosts.values()]}
            self.planes[site] = dict(plane)

    def broken(self, invariant: str, at: float, what: str) -> None:
        """An invariant was broken. The same words are not said twice."""
        if (invariant, what) not in self._told and len(self.violations) < MOST:
            self._told.add((invariant, what))
            self.violations.append(Violation(invariant=invariant, at=at, what=what))

    # ── What happens ───────────────────────────────────────────────────────────────────────────────────────

    def force(self, at: float, site: str, records: Iterable[Record]) -> None:
        """These are on the site's disk for sure."""
        disk = self.disks.setdefault(site, {})
        for record in records:
            disk[record.id] = record
            held = self.top.get(record.id)
            if held is None or record.order > held.order:
                self.top[record.id] = record
            if record.home == site:
                self._own(at, record)
            if record.header.kind in (Kind.VPN, Kind.ANSWER):
                self.past.setdefault((site, record.id), []).append((at, record))

    def _own(self, at: float, record: Record) -> None:
        self.first.setdefault((record.id, record.order), record.raw)
        if record.cursor > self.last.get(record.home, Cursor()):
            self.last[record.home] = record.cursor
        body = record.body
        if isinstance(body, VpnBody):
            self.names.setdefault(body.name, set()).add(record.id)
            if record.id not in self.born:
                self.born[record.id] = (at, body)
            for attachment in body.attachments:
                self.made.setdefault(made_network(attachment.site, record.id), (attachment.site, record.id))

    def asked(self, step: Step) -> None:
        """A user's wish, whether or not an answer comes."""
        if step.verb is Verb.DELETE:
            wish = self.wish(step.name)
            wish.deleted, wish.forced = True, wish.forced or step.force
        elif step.verb is Verb.CHANGE:
            self.wish(step.name).changes.append(frozenset(a.partition(":")[0] for a in step.attachments))
        elif step.verb in (Verb.DROP_HOST, Verb.DROP_NETWORK):
            self.dropped.add((step.site, step.name))
        elif step.verb is Verb.FORGET:
            self.forgot.add((step.site, step.other))

    def wish(self, name: str) -> Wishes:
        return self.wishes.setdefault(name, Wishes())

    def wished(self, vpn: str) -> Wishes:
        """What was asked for a Vpn, under any name that it had."""
        found = Wishes()
        for name in sorted(n for n, ids in self.names.items() if vpn in ids):
            wish = self.wish(name)
            found.deleted |= wish.deleted
            found.forced |= wish.forced
            found.changes += wish.changes
        return found

    def struck(self, at: float, step: Step) -> None:
        """A fault."""
        site = step.site
        if step.verb is Verb.BACKUP:
            self.copied[site] = at
        elif step.verb in (Verb.LOSE_STORE, Verb.RESTORE):
            self._roll(at, site, dict(self.view.records(site)))
            if step.point == "whole":
                self.put_back.add(site)
                self.unaware.add(site)
        elif step.verb is Verb.LIE and step.point != "stolen-certificate":
            self.liars.add(site)
        elif step.verb is Verb.CLONE:
            self.clones.add(site)

    def _roll(self, at: float, site: str, disk: Disk) -> None:
        """The site's disk is another one from now on."""
        old, self.disks[site] = self.disks.get(site, {}), disk
        self.rolled[site] = at
        for place in [p for p in self.past if p[0] == site]:
            del self.past[place]
        for record in disk.values():
            if record.header.kind in (Kind.VPN, Kind.ANSWER):
                self.past[site, record.id] = [(at, record)]
        for id, record in old.items():
            left = max((d[id] for d in self.disks.values() if id in d), key=lambda r: r.order, default=None)
            if left is not None and left.order >= record.order:
                continue
            # Nobody else has this version: what was told of it cannot be asked for any more.
            floor = self.floors.get(id, record.order)
            if floor is not None:
                self.floors[id] = min(floor, left.order) if left is not None else None
            if left is None:
                self.top.pop(id, None)
            else:
                self.top[id] = left

    # ── What is there ──────────────────────────────────────────────────────────────────────────────────────

    def doubtful(self, site: str) -> bool:
        """Whether what is signed as this site's may not be its own doing: it lies, or was cloned."""
        return site in self.liars or site in self.clones

    def pins(self, site: str) -> set[str]:
        """The peers that a site trusts, by its own records."""
        disk = self.disks.get(site, {})
        gone: dict[str, int] = {}
        for record in disk.values():
            body = record.body
            if isinstance(body, ForgottenBody) and record.home == site and record.live:
                gone[body.site] = max(gone.get(body.site, -1), body.incarnation)
        return {
            body.site
            for record in disk.values()
            if isinstance(body := record.body, IntroductionBody)
            and record.home == site
            and record.live
            and body.site != site
            and body.incarnation > gone.get(body.site, -1)
        }

    def trusts(self, site: str, other: str) -> bool:
        """Whether the site's disk pins the other."""
        return other in self.pins(site)

    def answer(self, holder: str, site: str, vpn: str) -> Record | None:
        """The answer of `site` as `holder` has it, withdrawn or not."""
        return self.disks.get(holder, {}).get(answer_id(site, vpn))

    def word(self, holder: str, site: str, vpn: str) -> AnswerBody | None:
        """That answer, if it is not withdrawn."""
        record = self.answer(holder, site, vpn)
        return record.body if record is not None and record.live and isinstance(record.body, AnswerBody) else None

    def lately(self, at: float, site: str, id: str) -> Iterator[Record]:
        """The versions of a Vpn or answer that stood on the site's disk not long ago, the newest first."""
        found = self.past.get((site, id), [])
        for n in range(len(found) - 1, -1, -1):
            ended = found[n + 1][0] if n + 1 < len(found) else at
            if ended < at - LATELY:
                return
            yield found[n][1]

    def vpns(self) -> list[tuple[str, Record, VpnBody]]:
        """Every Vpn in its highest version, by id."""
        found = sorted((id, r) for id, r in self.top.items() if isinstance(r.body, VpnBody))
        return [(id, r, r.body) for id, r in found]

    def hosts_on(self, site: str, network: str) -> list[str]:
        """Names of the hosts that the site's records put on a network, whether or not the cloud has them yet."""
        return sorted(
            r.body.name
            for r in self.disks.get(site, {}).values()
            if r.header.kind is Kind.HOST and r.live and r.body.network == network
        )


def member(body: VpnBody, site: str) -> Attachment | None:
    """The site's attachment."""
    return next((a for a in body.attachments if a.site == site), None)


def clash(some: Iterable[Prefix], others: Iterable[Prefix]) -> tuple[Prefix, Prefix] | None:
    """Two prefixes that overlap."""
    others = tuple(others)
    return next(((a, b) for a in some for b in others if a.version == b.version and a.overlaps(b)), None)


def named(record: Record) -> str:
    """How a record is called in a violation."""
    order = record.order
    epoch = f"{order.epoch}/{order.adopter}/" if order.epoch else ""
    return f"{record.header.kind.value} {record.id} {epoch}{order.incarnation}.{order.seq}"


def live_versions(disk: Mapping[str, Record], kind: Kind) -> list[Record]:
    """Records of a kind that are not withdrawn, by id."""
    return [r for _, r in sorted(disk.items()) if r.header.kind is kind and r.live]
