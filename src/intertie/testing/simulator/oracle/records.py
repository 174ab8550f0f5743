"""What is wrong with a record at the moment when it is forced to a disk.

Each check is called with the disk as it was just before. The checks know the rules of federation.md, not how the
product carries them out: they look at what was there, what a user asked for, and what is written now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from intertie.model.bodies import AnswerBody, GrantBody, MappingBody, Prefix, Range, Require, VpnBody, VpnKind, Word
from intertie.model.items import ItemKind, Network
from intertie.model.records import Cursor, Kind, Record, State
from intertie.planning import ranges
from intertie.planning.identity import made_network
from intertie.planning.ranges import Spans
from intertie.testing.simulator.oracle.asked import AskedJudge
from intertie.testing.simulator.oracle.held import HeldJudge
from intertie.testing.simulator.oracle.scene import AGREED, Disk, Scene, live_versions, member, named

FIXED = ("kind", "vni", "route_target", "prefixes", "mtu", "transport", "network")
"""What a Vpn never changes (rule 5)."""


class RecordJudge:
    """Looks at every record that becomes durable."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.asked = AskedJudge(scene)
        self.held = HeldJudge(scene)

    def wrote(self, at: float, site: str, puts: Mapping[str, Record]) -> None:
        """Before the scene takes them in; in the order in which they were written."""
        scene = self.scene
        for record in sorted(puts.values(), key=lambda r: (r.home != site, r.cursor)):
            disk = scene.disks.setdefault(site, {})
            known = scene.first.get((record.id, record.order))
            if known is None or known is not record.raw:
                self._bytes(at, site, record, known)
            self._order(at, site, record, disk.get(record.id), known)
            # What comes back to its home from a peer (rule 18) was decided, and judged, long ago.
            decided = record.home == site and known is None and not scene.doubtful(site)
            if record.header.kind is Kind.VPN:
                self._fixed(at, site, record)
            if decided:
                self._decided(at, site, record, disk)
            scene.force(at, site, (record,))
            if record.header.kind in (Kind.VPN, Kind.ANSWER) and record.home == site and site not in scene.rolled:
                # I2. A site that lost its store knows better only when its peers have told it; it is judged at rest.
                vpn = record.body.vpn if isinstance(record.body, AnswerBody) else record.id
                self.ranges(at, vpn, scene.rolled)

    # ── I7, I16, rules 2 and 3 ─────────────────────────────────────────────────────────────────────────────

    def _bytes(self, at: float, site: str, record: Record, known: bytes | None) -> None:
        scene = self.scene
        if scene.doubtful(record.home) or record.home in scene.put_back:
            # Whoever lies or is there twice signs what it likes; that others take it is judged by what it does.
            return
        if known is not None and known != record.raw:
            scene.broken("I7", at, f"{named(record)} has other bytes at {site} than at its home")
        elif known is None and record.home != site:
            # Rule 3. What a crash may still undo must not be known to others.
            scene.broken("rule 3", at, f"{site} holds {named(record)}, which its home never had on its disk")
        if not scene.view.genuine(record):
            scene.broken("I16", at, f"{site} took {named(record)}, which its home did not sign")

    def _order(self, at: float, site: str, record: Record, held: Record | None, known: bytes | None) -> None:
        scene = self.scene
        if held is not None and record.order <= held.order:
            scene.broken("I7", at, f"{site} put {named(record)} in the place of {named(held)}")
        if record.home != site or known is not None or scene.doubtful(site):
            return
        last = scene.last.get(site, Cursor())
        if site in scene.unaware:
            if record.cursor.incarnation == last.incarnation:
                return  # rule 18: nobody has told it yet; at rest somebody must have
            scene.unaware.discard(site)
        if record.cursor <= last:
            # Peers have read this far: they would never ask for it.
            words = f"{last.incarnation}.{last.seq}"
            scene.broken("I7", at, f"{site} wrote {named(record)} after it had come to {words}")
        if (
            held is not None
            and not held.live
            and record.live
            and record.order.epoch == held.order.epoch
            and record.header.kind in (Kind.VPN, Kind.NETWORK, Kind.HOST)
        ):
            scene.broken("I6", at, f"{site} brought {named(record)} back to life")

    # ── Vpns ───────────────────────────────────────────────────────────────────────────────────────────────

    def _decided(self, at: float, site: str, record: Record, disk: Disk) -> None:
        """A site has just decided this."""
        self.asked.decided(at, site, record, disk)
        self.held.decided(at, site, record, disk)
        if record.header.kind is Kind.VPN:
            self._vpn(at, site, record, disk)
        elif record.header.kind is Kind.ANSWER:
            self._answer(at, site, record, disk)
        elif record.header.kind is Kind.GRANT:
            self._grant(at, record)

    def _fixed(self, at: float, site: str, record: Record) -> None:
        born = self.scene.born.get(record.id)
        if born is not None and not self.scene.doubtful(record.home):
            changed = [f for f in FIXED if getattr(born[1], f) != getattr(record.body, f)]
            if changed:
                self.scene.broken("rule 5", at, f"{named(record)} at {site} changes {', '.join(changed)}")

    def _vpn(self, at: float, site: str, record: Record, disk: Disk) -> None:
        scene, body = self.scene, record.body
        assert isinstance(body, VpnBody)
        held = disk.get(record.id)
        if record.id not in scene.born:
            self._number(at, record, body)
        if body.kind is VpnKind.L2:
            self._shares(at, record, body)
        if held is not None and held.home == site:
            assert isinstance(held.body, VpnBody)
            self._moved(at, record, body, held, held.body)

    def _number(self, at: float, record: Record, body: VpnBody) -> None:
        """I1: a number has one holder."""
        for id, other, theirs in self.scene.vpns():
            if id != record.id and other.live and theirs.vni == body.vni:
                self.scene.broken("I1", at, f"Vpns {record.id} and {id} both have VNI {body.vni}")

    def _shares(self, at: float, record: Record, body: VpnBody) -> None:
        """I2: what the record gives to the members is the whole range, each address once."""
        for prefix in body.prefixes:
            given = [(s.site, ranges.spans_of(s.ranges, prefix)) for s in body.shares]
            whole = (ranges.usable(prefix),)
            together = ranges.union(span for _, spans in given for span in spans)
            if sum(ranges.size(spans) for _, spans in given) != ranges.size(together):
                self.scene.broken("I2", at, f"{named(record)} gives addresses of {prefix} to two members")
            elif together != whole:
                self.scene.broken("I2", at, f"{named(record)} gives {together} of {prefix}, which has {whole}")

    def _moved(self, at: float, record: Record, body: VpnBody, held: Record, old: VpnBody) -> None:
        """I21 and rules 9 to 12: a home ends or narrows a Vpn because a user asked for it or a member refused."""
        scene = self.scene
        wish = scene.wished(record.id)
        if held.live and not record.live:
            self._ended(at, record, body, held)
        if record.header.state is State.CLOSING and held.header.state is State.LIVE and not wish.deleted:
            scene.broken("I21", at, f"{record.home} closes {named(record)}, and nobody asked for it")
        if not record.live:
            return
        for a in old.attachments:
            now = member(body, a.site)
            if now is None:
                self._left(at, record, held, a.site)
            elif now.leaving and not a.leaving and not wish.without(a.site):
                scene.broken("I21", at, f"{named(record)} lets {a.site} go, and nobody asked for it")

    def _ended(self, at: float, record: Record, body: VpnBody, held: Record) -> None:
        scene, site = self.scene, record.home
        wish = scene.wished(record.id)
        assert isinstance(held.body, VpnBody)
        if body.refusal is not None:
            self._refused(at, record, held.body, body.refusal.text.partition(":")[0])
            if any(a.agreed for a in held.body.attachments):
                # Decision 3: a no that comes after everybody's yes is shown, and ends nothing that forwards.
                scene.broken("rule 9", at, f"a refusal ended {named(record)}, on which all had agreed")
        elif not wish.deleted:
            scene.broken("I21", at, f"{site} ended {named(record)}, and nobody asked for it")
        elif not wish.forced:
            for a in held.body.attachments:
                if not self._let_go(site, a.site, held):
                    scene.broken("rule 12", at, f"{site} ended {named(record)} before {a.site} had let go")

    def _refused(self, at: float, record: Record, old: VpnBody, site: str) -> None:
        """Rule 9: silence is no refusal. L3 members are also refused by the home, when prefixes cross."""
        word = self.scene.word(record.home, site, record.id)
        if old.require is Require.ANY:
            self.scene.broken("rule 9", at, f"{named(record)} goes on without {site}, but was ended for it")
        if word is None or (word.word is not Word.REFUSED and old.kind is VpnKind.L2):
            self.scene.broken("rule 9", at, f"{record.home} says in {named(record)} that {site} refused; it did not")

    def _left(self, at: float, record: Record, held: Record, site: str) -> None:
        """A member is no longer named."""
        scene = self.scene
        assert isinstance(held.body, VpnBody)
        was = member(held.body, site)
        assert was is not None
        body = record.body
        assert isinstance(body, VpnBody)
        if not was.leaving and body.refusal is not None and body.refusal.text.startswith(f"{site}:"):
            self._refused(at, record, held.body, site)
            if was.agreed:
                scene.broken("rule 9", at, f"{named(record)} drops {site}, which had agreed, for a refusal")
        elif not was.leaving:
            scene.broken("I21", at, f"{named(record)} no longer names {site}, which nobody had asked to leave")
        elif not self._let_go(record.home, site, held):
            scene.broken("rule 12", at, f"{named(record)} no longer names {site}, which had not let go")

    def _let_go(self, home: str, site: str, held: Record) -> bool:
        """Whether the home has the site's word that it holds nothing any more, or has forgotten it."""
        word = self.scene.word(home, site, held.id)
        if word is not None and (
            word.word is Word.REFUSED or (word.word is Word.DRAINED and word.order >= held.order)
        ):
            return True
        return (home, site) in self.scene.forgot and not self.scene.trusts(home, site)

    # ── Answers ────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, at: float, site: str, record: Record, disk: Disk) -> None:
        scene, body = self.scene, record.body
        assert isinstance(body, AnswerBody)
        vpn = disk.get(body.vpn)
        if vpn is None or not isinstance(vpn.body, VpnBody) or scene.doubtful(vpn.home):
            return
        held = disk.get(record.id)
        said = held.body if held is not None and held.live and isinstance(held.body, AnswerBody) else None
        now = member(vpn.body, site)
        # Who has let go, and is added again, has made no promise yet to what it is added to.
        anew = said is not None and said.word is Word.DRAINED and now is not None and not now.agreed
        before = said is not None and said.word in AGREED and bool(said.network) and not anew
        if record.live and body.word is Word.ACCEPTED and not before:
            self._accepted(at, site, record, body, vpn)
        if before:
            self._taken_back(at, site, record, vpn)
        elif record.live and body.word is Word.REFUSED and held is None:
            self._forgotten_yes(at, site, vpn)
        if record.live and body.word is Word.DRAINED and body.network == made_network(site, body.vpn):
            # Rule 12: who still has a host on the network that was made for the Vpn has not let go of it.
            hosts = scene.hosts_on(site, body.network)
            if hosts:
                scene.broken("rule 12", at, f"{site} says drained of {body.vpn}; on its network is {hosts[0]}")
        if vpn.body.kind is VpnKind.L2:
            self._within(at, record, body, vpn.body)

    def _accepted(self, at: float, site: str, record: Record, body: AnswerBody, vpn: Record) -> None:
        """I17: a Vpn of somebody else's project is accepted only for a project that the operator mapped to it."""
        scene = self.scene
        assert isinstance(vpn.body, VpnBody)
        ours = {vpn.body.project} if vpn.home == site else mapped(scene.disks[site], vpn.home, vpn.body)
        if body.project not in ours:
            words = f"project {vpn.body.project} of {vpn.home} is not mapped to {body.project or 'any'} there"
            scene.broken("I17", at, f"{site} accepted {named(vpn)}, but {words}")
        network = scene.clouds.get(site, {}).get((ItemKind.NETWORK, body.network))
        if isinstance(network, Network) and network.project != body.project:
            scene.broken("I17", at, f"{site} attached {network.name} of {network.project} to {named(vpn)}")

    def _taken_back(self, at: float, site: str, record: Record, vpn: Record) -> None:
        """Rule 6: a promise stands until the Vpn ends or lets go of the site. Only crossing answers of an L3 Vpn that
        is not settled yet may end a yes (rule 8: overlap is decided by position)."""
        body, word = vpn.body, record.body
        assert isinstance(body, VpnBody)
        assert isinstance(word, AnswerBody)
        now = member(body, site)
        if not record.live and vpn.live and now is not None:
            self.scene.broken("rule 6", at, f"{site} took its yes to {named(vpn)} back, which still names it")
        if (
            record.live
            and word.word is Word.REFUSED
            and (body.kind is VpnKind.L2 or (now is not None and now.agreed))
        ):
            self.scene.broken("rule 6", at, f"{site} refused {named(vpn)} after it had accepted it")

    def _forgotten_yes(self, at: float, site: str, vpn: Record) -> None:
        """Rule 18: a site that lost its store asks its peers what it had said, before it says anything else."""
        body = vpn.body
        assert isinstance(body, VpnBody)
        here = member(body, site)
        if here is None or not here.agreed or site not in self.scene.rolled:
            return
        for holder in sorted(self.scene.disks):
            word = self.scene.word(holder, site, vpn.id)
            if word is not None and word.word in AGREED and word.network:
                words = f"{site} refused {named(vpn)}; {holder} still has its yes from before its store was lost"
                self.scene.broken("rule 18", at, words)
                return

    def _within(self, at: float, record: Record, body: AnswerBody, vpn: VpnBody) -> None:
        """I2: what a member holds lies in the Vpn's range."""
        for held in body.ranges:
            if not any(_inside(held, ranges.usable(p)) and held.first.version == p.version for p in vpn.prefixes):
                self.scene.broken(
                    "I2", at, f"{named(record)} holds {held.first}–{held.last}, outside the Vpn's range"
                )

    # ── I1, I2 ─────────────────────────────────────────────────────────────────────────────────────────────

    def ranges(self, at: float, vpn: str, away: Collection[str], settled: bool = False) -> None:
        """I2: no address of an L2 Vpn is held by two members, each by its own word on its own disk. Sites that are
        `away` do not count. Not `settled`: a home gives space away in the record, first; its own answer follows."""
        scene, record = self.scene, self.scene.top.get(vpn)
        if record is None or not isinstance(record.body, VpnBody):
            return
        body = record.body
        if not record.live or body.kind is not VpnKind.L2 or scene.doubtful(record.home):
            return
        sites = [s for s in scene.disks if s not in away and self._counts(s, record)]
        for prefix in body.prefixes:
            taken: Spans = ()
            for site in sites:
                held = self._holds(site, record, prefix, settled)
                if ranges.subtract(taken, held) != taken:
                    words = f"{site} holds addresses of {prefix} in {vpn} that another member holds: {held}"
                    scene.broken("I2", at, words)
                taken = ranges.union([*taken, *held])

    def _counts(self, site: str, vpn: Record) -> bool:
        """Who is forgotten by the home holds nothing in the eyes of the others (rule 16), nor does a liar."""
        # Whoever was its home by then: an adopter may trust a site that its home had forgotten.
        forgot = any((other, site) in self.scene.forgot for other in self.scene.disks)
        return not self.scene.doubtful(site) and not forgot and (site, vpn.home) not in self.scene.forgot

    def _holds(self, site: str, vpn: Record, prefix: Prefix, settled: bool) -> Spans:
        word = self.scene.word(site, site, vpn.id)
        here = self.scene.disks[site].get(vpn.id)
        if word is None or word.word not in (Word.ACCEPTED, Word.HELD) or here is None or not here.live:
            return ()
        held = ranges.spans_of(word.ranges, prefix)
        if settled or here.home != site or not isinstance(here.body, VpnBody):
            return held
        share = next((s for s in here.body.shares if s.site == site), None)
        given = ranges.spans_of((*(share.ranges if share is not None else ()), *word.ledger.got), prefix)
        return ranges.subtract(held, ranges.subtract(held, given))

    def _grant(self, at: float, record: Record) -> None:
        """I1: who grants numbers holds them, and grants them once (rule 15)."""
        body = record.body
        assert isinstance(body, GrantBody)
        if not record.live or self.scene.doubtful(record.home):
            return
        if body.to == record.home:
            if friends := self.scene.pins(record.home):
                words = f"{record.home} takes {body.first}–{body.last} of {body.space} for itself"
                self.scene.broken(
                    "I1", at, f"{words}, though it belongs to a federation of {', '.join(sorted(friends))}"
                )
            return
        holds = self.holding(body.space, record.home)
        if ranges.subtract(((body.first, body.last),), holds):
            words = f"{body.first}–{body.last} of {body.space} to {body.to}; it holds {holds}"
            self.scene.broken("I1", at, f"{record.home} grants {words}")

    def holding(self, space: str, site: str) -> Spans:
        """What all grants together leave to a site."""
        grants = [r for r in live_versions(self.scene.top, Kind.GRANT) if r.body.space == space]
        got = ranges.union((r.body.first, r.body.last) for r in grants if r.body.to == site)
        given = ((r.body.first, r.body.last) for r in grants if r.home == site and r.body.to != site)
        return ranges.subtract(got, given)


def mapped(disk: Disk, peer: str, vpn: VpnBody) -> set[str]:
    """The projects for which the site's operator lets that project of the peer's act."""
    return {
        r.body.ours
        for r in live_versions(disk, Kind.MAPPING)
        if isinstance(r.body, MappingBody)
        and (r.body.peer, r.body.theirs) == (peer, vpn.project)
        and vpn.kind.value in r.body.may
    }


def _inside(held: Range, span: tuple[int, int]) -> bool:
    return span[0] <= int(held.first) <= int(held.last) <= span[1]
