"""What is wrong when everything is healed, everybody runs, and time for all exchanges and rounds has passed.

Then the picture must be whole: every disk that should hold a record holds the same version (I8), every cloud and
plane holds what its site's records say and nothing else (I3 to I6, I16), what is shown as ready carries packets (I5),
and whatever is not ready says why, with a reason that the story explains.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

from intertie.agent.access import Caller, Role
from intertie.model.bodies import Address, AnswerBody, Require, VpnBody, VpnKind, Word
from intertie.model.items import Host, Item, ItemKind, Key, Network, Segment
from intertie.model.records import PUBLIC, Kind, Record, State
from intertie.model.views import VpnView
from intertie.planning.identity import answer_id
from intertie.testing.fake_transport import FakeUnderlay
from intertie.testing.simulator.oracle.plenty import PlentyJudge
from intertie.testing.simulator.oracle.records import RecordJudge, mapped
from intertie.testing.simulator.oracle.scene import AGREED, Scene, clash, member, named

OPERATOR = Caller(project="demo", role=Role.ADMIN)
SENT = frozenset({*PUBLIC, Kind.VPN, Kind.ANSWER, Kind.PROPOSAL})
"""Kinds of records that leave their home."""


class RestJudge:
    """Judges the whole picture, once."""

    def __init__(self, scene: Scene, records: RecordJudge) -> None:
        self.scene = scene
        self._records = records
        self._pins: dict[str, set[str]] = {}

    def rested(self, at: float, asked: int, projects: Iterable[str]) -> None:
        """`asked`: how many things users ever asked for; `projects`: all that they asked in."""
        scene = self.scene
        self._pins = {site: scene.pins(site) for site in scene.disks}
        for site in sorted(scene.disks):
            if not scene.view.runs(site):
                scene.broken("life", at, f"{site} does not run, and nothing keeps it from it")
                return
        self._disks(at, asked)
        self._put_back(at)
        self._copies(at)
        for site in sorted(scene.disks):
            if not scene.doubtful(site):
                self._cloud(at, site)
                self._plane(at, site)
                self._seen(at, site, projects)
        for id, record, body in scene.vpns():
            if not scene.doubtful(record.home) and not any(scene.doubtful(s) for s in record.header.names):
                # I2, of those as well who had lost their store.
                self._records.ranges(at, id, (), settled=True)
                self._vpn(at, record, body)

    def friends(self, one: str, other: str) -> bool:
        """Whether each trusts the other: otherwise neither hears what the other says."""
        return other in self._pins.get(one, ()) and one in self._pins.get(other, ())

    def calm(self, site: str) -> bool:
        """Whether the site has heard all that those say whom it trusts. Who is forgotten by a peer, or lied to, may
        hear for the first time what comes again at the end; who lost its store cannot know what is old."""
        strange = any(self.scene.doubtful(s) for s in (site, *self._pins.get(site, ()))) or site in self.scene.rolled
        pins = self._pins
        mutual = all((o in pins.get(site, ())) is (site in pins.get(o, ())) for o in self.scene.disks if o != site)
        return not strange and mutual

    def _stuck(self, site: str) -> bool:
        """A site that lost its store waits for all whom it trusts; who has forgotten it never tells it anything."""
        lost = site in self.scene.rolled
        return lost and any(not self.friends(site, p) for p in self._pins.get(site, ()))

    # ── Disks ──────────────────────────────────────────────────────────────────────────────────────────────

    def _disks(self, at: float, asked: int) -> None:
        scene, sites = self.scene, len(self.scene.disks)
        # I19. A site's own word, pins, forgettings and grants; then what every wish may have made: a record, an
        # answer of each site, and the answer to a proposal.
        limit = 4 * sites * sites + sites * 4 + (sites + 3) * asked
        for site in sorted(scene.disks):
            there = scene.view.records(site)
            mirror = scene.disks[site]
            for id in sorted(mirror.keys() | there.keys()):
                if id not in there or id not in mirror or there[id].raw != mirror[id].raw:
                    # A record never goes but for a better one: a tombstone is not dropped by age (rule 12).
                    scene.broken("I6", at, f"{site} had {id} on its disk for sure, and has another or none now")
                    break
            if len(there) > limit and not scene.liars:
                scene.broken("I19", at, f"{site} holds {len(there)} records; {limit} can have been made")

    def _put_back(self, at: float) -> None:
        """Rule 18: who was put back to an old copy has its past again, from whoever had heard it."""
        scene = self.scene
        for site in sorted(scene.put_back):
            for peer in sorted(s for s in scene.disks if s != site and self.friends(s, site)):
                lost = [r for r in scene.disks[peer].values() if r.home == site and self._lacks(site, r)]
                if lost and not scene.doubtful(site):
                    words = f"{site} was put back to an old copy, and {peer} did not tell it: it has {named(lost[0])}"
                    scene.broken("rule 18", at, words)

    def _lacks(self, site: str, record: Record) -> bool:
        held = self.scene.disks[site].get(record.id)
        return held is None or held.order < record.order

    def _copies(self, at: float) -> None:
        """I8. Who has forgotten a peer takes nothing of that incarnation again, so those pairs are left out."""
        scene = self.scene
        for id, top in sorted(scene.top.items()):
            if scene.doubtful(top.home) or top.home not in scene.disks:
                continue
            holders = [s for s in sorted(scene.disks) if s != top.home and _has(scene.disks[s].get(id), top)]
            if not _has(scene.disks[top.home].get(id), top):
                if top.home not in self.scene.rolled or any(self.friends(h, top.home) for h in holders):
                    scene.broken("I8", at, f"{top.home} does not hold its own {named(top)}")
                continue
            for site in sorted(scene.disks):
                due = site != top.home and top.header.kind in SENT and top.concerns(site)
                apart = not self.friends(site, top.home) or (site, top.home) in scene.forgot
                if due and not apart and site not in holders and not scene.doubtful(site):
                    held = scene.disks[site].get(id)
                    words = f"{site} holds {named(held) if held is not None else 'nothing'}"
                    scene.broken("I8", at, f"{words}, {top.home} wrote {named(top)}")
                elif not due and site != top.home and not apart and not scene.doubtful(site):
                    self._not_told(at, site, top, scene.disks[site].get(id))

    def _not_told(self, at: float, site: str, top: Record, held: Record | None) -> None:
        """Rule 12: whoever was ever named hears that it is not any more, or of the end. Who came from an old backup
        knows it from its own answer, which ended with a later version: the record is told to members only."""
        if held is None or not held.live or not isinstance(held.body, VpnBody) or member(held.body, site) is None:
            return
        said = self.scene.disks[site].get(answer_id(site, held.id))
        ended = said.body.order if said is not None and not said.live else held.order
        if ended <= held.order:
            words = f"{site} was never told of {named(top)}: it holds {named(held)}, which names it"
            self.scene.broken("rule 12", at, words)

    # ── Clouds ─────────────────────────────────────────────────────────────────────────────────────────────

    def _cloud(self, at: float, site: str) -> None:
        scene, disk = self.scene, self.scene.disks[site]
        cloud = scene.clouds.get(site, {})
        for k, item in sorted(cloud.items()):
            if isinstance(item, Network) and item.id in scene.made:
                self._made(at, site, item)
                continue
            record = disk.get(k[1])
            if record is None and site not in self.scene.rolled:
                # What nobody's records explain was never accepted, or is left over (I4).
                scene.broken("I4", at, f"{site} has {k[0].value} {k[1]} on its cloud, which no record of it explains")
            elif record is not None and not record.live and not self._in_use(site, item):
                scene.broken("I6", at, f"{site} still has {k[0].value} {k[1]} on its cloud, which has ended")
        for id, record in sorted(disk.items()):
            if record.live and record.header.kind in (Kind.NETWORK, Kind.HOST):
                k = (ItemKind(record.header.kind.value), id)
                if k not in cloud:
                    scene.broken("I3", at, f"{site} promised {k[0].value} {record.body.name}, and its cloud lacks it")

    def _in_use(self, site: str, item: Item) -> bool:
        """Whether tenants' ports keep a network."""
        if not isinstance(item, Network):
            return False
        hosts = [i for i in self.scene.clouds[site].values() if isinstance(i, Host) and i.network == item.id]
        bridge = self.scene.view.system(site).bridges.get(item.bridge)
        return bool(hosts) or (bridge is not None and bool(bridge.foreign))

    def _made(self, at: float, site: str, network: Network) -> None:
        _, vpn = self.scene.made[network.id]
        record = self.scene.disks[site].get(vpn)
        if record is None or self.scene.doubtful(record.home):
            return
        word = self.scene.word(site, site, vpn)
        stands = record.live and word is not None and word.word in AGREED and word.network == network.id
        if not stands and not self._in_use(site, network):
            self.scene.broken("I4", at, f"{site} still has the network that it made for Vpn {vpn}")

    # ── Data planes ────────────────────────────────────────────────────────────────────────────────────────

    def _plane(self, at: float, site: str) -> None:
        scene, disk = self.scene, self.scene.disks[site]
        held: dict[str, Segment] = {}
        plane: dict[Key, Segment] = scene.planes.get(site, {})
        for _, segment in sorted(plane.items()):
            if segment.vpn in held:
                scene.broken("I1", at, f"{site} has two segments of Vpn {segment.vpn}")
            held[segment.vpn] = segment
            record = disk.get(segment.vpn)
            if record is None and site in self.scene.rolled:
                continue  # an orphan: kept until somebody says what it is (rule 19)
            if record is None or not scene.doubtful(record.home):
                self._segment(at, site, segment, record)
        for id, record in sorted(disk.items()):
            body = record.body
            if isinstance(body, VpnBody) and record.live and not scene.doubtful(record.home):
                self._wanted(at, site, id, body, held.get(id))

    def _segment(self, at: float, site: str, segment: Segment, record: Record | None) -> None:
        scene = self.scene
        word = scene.word(site, site, segment.vpn)
        body = record.body if record is not None else None
        if record is None or not record.live:
            scene.broken("I4", at, f"{site} forwards for Vpn {segment.vpn}, which has ended or never was")
            return
        assert isinstance(body, VpnBody)
        if member(body, site) is None or word is None or word.word not in AGREED:
            scene.broken("I16", at, f"{site} forwards for Vpn {segment.vpn}, of which it is no member")
            return
        if segment.flaw or segment.vni != body.vni or segment.network != word.network:
            scene.broken("I5", at, f"{site} has not repaired its segment of Vpn {segment.vpn}: {segment.flaw}")
        for remote in segment.remotes:
            theirs = scene.word(site, remote.site, segment.vpn)
            if theirs is None and self._stuck(site) and remote.site in self._pins[site]:
                continue  # who forgot this site never says it again; nothing goes without evidence (rule 19)
            agreed = theirs is not None and theirs.word in AGREED
            if member(body, remote.site) is None or not agreed or remote.site not in self._pins[site]:
                words = f"{site} lets packets of {remote.site} into Vpn {segment.vpn}"
                scene.broken("I16", at, f"{words}, where it is no member, or is forgotten")

    def _wanted(self, at: float, site: str, id: str, body: VpnBody, segment: Segment | None) -> None:
        """I5: who has said yes forwards to everybody else who has."""
        scene, word = self.scene, self.scene.word(site, site, id)
        if word is None or word.word not in AGREED or not word.network or member(body, site) is None:
            return
        if segment is None:
            if not word.failed:
                scene.broken("I5", at, f"{site} said yes to Vpn {id}, forwards nothing for it, and gives no reason")
            return
        there = {r.site for r in segment.remotes}
        for a in body.attachments:
            theirs = scene.word(site, a.site, id)
            if a.site == site or a.site not in self._pins[site] or scene.doubtful(a.site):
                continue
            if theirs is not None and theirs.word in AGREED and theirs.endpoints and a.site not in there:
                scene.broken("I5", at, f"{site} does not forward to {a.site} in Vpn {id}, on which both agreed")

    # ── What users see ─────────────────────────────────────────────────────────────────────────────────────

    def _seen(self, at: float, site: str, projects: Iterable[str]) -> None:
        """I17: a project sees its own, and all of its own."""
        view, disk = self.scene.view, self.scene.disks[site]
        for project in sorted(projects):
            caller = Caller(project=project, role=Role.READER)
            for found in view.vpns(site, caller):
                record = disk.get(found.id)
                if record is not None and project not in self._projects(site, record):
                    self.scene.broken("I17", at, f"project {project} at {site} sees Vpn {found.name}")
            items = [(n.name, n.project) for n in view.networks(site, caller)]
            items += [(h.name, h.project) for h in view.hosts(site, caller)]
            for name, owner in items:
                if owner != project:
                    self.scene.broken("I17", at, f"project {project} at {site} sees {name} of {owner}")

    def _projects(self, site: str, record: Record) -> set[str]:
        body, word = record.body, self.scene.word(site, site, record.id)
        assert isinstance(body, VpnBody)
        if record.home == site:
            return {body.project}
        # A yes stands for the project that it was given for, also when the mapping was taken back later.
        given = {word.project} if word is not None and word.word in AGREED else set()
        return mapped(self.scene.disks[site], record.home, body) | given

    def _vpn(self, at: float, record: Record, body: VpnBody) -> None:
        """I5 and signs of life, of one Vpn."""
        scene = self.scene
        if not record.live:
            return
        sites = [s for s in record.header.names if s in scene.disks]
        views = {s: v for s in sites for v in scene.view.vpns(s, OPERATOR) if v.id == record.id}
        for site, view in views.items():
            if view.phase.value == "ready":
                self._carries(at, site, record, body)
        apart = any(not self.friends(a, b) for a, b in permutations([*sites, record.home], 2) if a != b)
        if apart or any(self._stuck(s) for s in (*sites, record.home)):
            return
        PlentyJudge(scene).rested(at, record, body)
        for site in sites:
            if site not in views:
                scene.broken("I3", at, f"{site} does not show Vpn {body.name} ({record.id}), which stands")
            else:
                self._phase(at, site, record, body, views[site])

    def _phase(self, at: float, site: str, record: Record, body: VpnBody, view: VpnView) -> None:
        """Whatever is not ready says why, and why is something that the story explains."""
        words = {a.site: self.scene.word(record.home, a.site, record.id) for a in body.attachments}
        said = f"Vpn {body.name} ({record.id}) is {view.phase.value} at {site}: {view.reason or 'no reason given'}"
        if record.header.state is State.CLOSING:
            if not any(w is not None and w.word is Word.HELD and self._holds(s, w) for s, w in words.items()):
                self.scene.broken("life", at, f"{said}; nobody holds it")
            return
        refusals = [s for s, w in words.items() if w is not None and w.word is Word.REFUSED]
        for other in refusals:
            attached = member(body, other)
            if body.require is Require.ALL and attached is not None and not attached.agreed and not attached.leaving:
                self.scene.broken("rule 9", at, f"{said}; {other} refused, and it still stands")
        if refusals or view.phase.value == "ready" or self._leaves(body, words):
            return
        if body.kind is VpnKind.L3 and self._routes_meet(body, words):
            return
        self.scene.broken("life", at, said)

    def _holds(self, site: str, word: AnswerBody) -> bool:
        network = self.scene.clouds.get(site, {}).get((ItemKind.NETWORK, word.network))
        return network is not None and self._in_use(site, network)

    def _leaves(self, body: VpnBody, words: dict[str, AnswerBody | None]) -> bool:
        """Whether a member that is to leave still has hosts there."""
        return any(
            a.leaving and (w := words.get(a.site)) is not None and w.word is Word.HELD and self._holds(a.site, w)
            for a in body.attachments
        )

    def _routes_meet(self, body: VpnBody, words: dict[str, AnswerBody | None]) -> bool:
        """Whether a member routes something else where another member's prefix is (rule 11): that is shown, and
        stays so. Each network of a site is one routing context."""
        for site, word in words.items():
            others = [p for s, w in words.items() if s != site and w is not None for p in w.prefixes]
            if word is None:
                continue
            for record in self.scene.disks.get(site, {}).values():
                other = record.body
                mine = isinstance(other, AnswerBody) and record.home == site and record.live
                if mine and other.vpn != word.vpn and other.network == word.network and clash(other.routes, others):
                    return True
        return False

    # ── Packets ────────────────────────────────────────────────────────────────────────────────────────────

    def _carries(self, at: float, site: str, record: Record, body: VpnBody) -> None:
        """I5: `ready` is a promise about packets, both ways, between segments and between hosts."""
        underlay = self.scene.view.underlay()
        for a, b in permutations([a.site for a in body.attachments], 2):
            if not underlay.crosses(record.id, a, b):
                self.scene.broken("I5", at, f"Vpn {body.name} is ready at {site}; nothing crosses from {a} to {b}")
                return
        lab = FakeUnderlay(segments=underlay.segments)
        hosts = self._hosts(record.id, body, lab)
        for (a, bridge, source), (b, _, target) in permutations(hosts, 2):
            if a == b or source.version != target.version:
                continue
            if not lab.reaches(a, bridge, source, target):
                words = f"{source} at {a} does not reach {target} at {b}"
                self.scene.broken("I5", at, f"Vpn {body.name} is ready at {site}; {words}")
                return

    def _hosts(self, vpn: str, body: VpnBody, lab: FakeUnderlay) -> list[tuple[str, str, Address]]:
        """(site, bridge, address) of a host of each member and IP version; all are put into the lab."""
        found: dict[tuple[str, int], tuple[str, str, Address]] = {}
        for site in sorted(a.site for a in body.attachments):
            word = self.scene.word(site, site, vpn)
            for _, item in sorted(self.scene.clouds.get(site, {}).items()):
                if not isinstance(item, Host) or word is None or item.network != word.network:
                    continue
                for interface in item.interfaces:
                    lab.hosts.setdefault((site, item.bridge), set()).add(interface.ip)
                    found.setdefault((site, interface.version), (site, item.bridge, interface.ip))
        return list(found.values())


def _has(held: Record | None, top: Record) -> bool:
    return held is not None and held.raw == top.raw
