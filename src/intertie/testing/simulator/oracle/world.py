"""What is wrong with a host, a network or a segment at the moment when it comes, changes or goes.

A thing that goes needs a reason (I21, I22, rule 10): a record on that site's own disk which says so. That this record
itself had a user's cause was judged when it was written (`oracle.records`). A reason that stood not long ago counts
as well: an agent decides, a slow cloud carries out, and records may have moved on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

from intertie.model.bodies import AnswerBody, VpnKind, Word
from intertie.model.items import Host, Item, ItemKind, Key, Network, Segment, key
from intertie.model.records import Record
from intertie.planning.identity import answer_id
from intertie.testing.simulator.oracle.scene import AGREED, Scene, member

Place = tuple[str, str]
"""(site, bridge)."""


class WorldJudge:
    """Looks at every change of clouds and data planes."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._hosts: dict[Place, dict[str, Host]] = {}
        """Hosts by id."""
        self._numbers: dict[int, dict[tuple[str, str], None]] = {}
        """VNI → (vpn, site) of the segments that carry it."""
        self._removed: set[tuple[str, Key]] = set()
        """Things that were removed after their end."""

    def look(self) -> None:
        """Take in what is there already."""
        scene = self.scene
        for site in scene.clouds:
            for item in scene.clouds[site].values():
                self._index(site, item)
            for segment in scene.planes[site].values():
                self._numbers.setdefault(segment.vni, {})[segment.vpn, site] = None

    def rolled(self, site: str) -> None:
        """The site's store is an older one: what it deletes again may come again before (I6)."""
        self._removed = {place for place in self._removed if place[0] != site}

    # ── The cloud ──────────────────────────────────────────────────────────────────────────────────────────

    def changed(self, at: float, site: str, before: Item | None, after: Item | None) -> None:
        cloud = self.scene.clouds.setdefault(site, {})
        if before is not None:
            cloud.pop(key(before), None)
            if isinstance(before, Host):
                self._hosts.get((site, before.bridge), {}).pop(before.id, None)
        if after is not None:
            cloud[key(after)] = after
            self._index(site, after)
        if self.scene.doubtful(site):
            return
        if after is None and before is not None:
            self._gone(at, site, before)
        elif before is None and after is not None:
            self._came(at, site, key(after))
        if isinstance(after, Host):
            for place in [(site, after.bridge), *self._joined(site, after.bridge)]:
                self._addresses(at, (site, after.bridge), place)

    def _index(self, site: str, item: Item) -> None:
        if isinstance(item, Host):
            self._hosts.setdefault((site, item.bridge), {})[item.id] = item

    def _gone(self, at: float, site: str, item: Item) -> None:
        record = self.scene.disks.get(site, {}).get(item.id) if isinstance(item, (Host, Network)) else None
        if isinstance(item, Host):
            self._needs_end(at, site, item.name, f"host {item.name} ({item.id})", record)
        elif isinstance(item, Network) and item.id in self.scene.made:
            self._made_gone(at, site, item)
        elif isinstance(item, Network):
            self._needs_end(at, site, item.name, f"network {item.name} ({item.id})", record)
        if record is not None and not record.live:
            self._removed.add((site, key(item)))

    def _needs_end(self, at: float, site: str, name: str, words: str, record: Record | None) -> None:
        if record is None:
            # I22: a store that knows nothing is no reason.
            self.scene.broken("I22", at, f"{site} removed {words}, of which its disk says nothing")
        elif record.live:
            self.scene.broken("I21", at, f"{site} removed {words}, which stands in its records")
        elif (site, name) not in self.scene.dropped:
            self.scene.broken("I21", at, f"{site} removed {words}, and nobody asked for it")

    def _made_gone(self, at: float, site: str, network: Network) -> None:
        """A network that was made for an L2 Vpn goes with it, or with this site's part in it."""
        _, vpn = self.scene.made[network.id]
        if not self._may_go(at, site, vpn, network.id):
            self._no_reason(at, site, f"network {network.name} of Vpn {vpn}", vpn)

    def _came(self, at: float, site: str, k: Key) -> None:
        """I6. Once is allowed: a slow driver may finish what was decided before the end came."""
        if (site, k) not in self._removed:
            return
        record = self.scene.disks.get(site, {}).get(self._record_of(k))
        # Who adopted a Vpn without knowing of its end has brought it back (rule 14).
        if record is None or not record.live:
            words = f"{k[0].value} {k[1]} came back at {site}"
            self.scene.broken("I6", at, f"{words}, after it had ended and was removed")

    def _record_of(self, k: Key) -> str:
        """The id of the record that a thing stands on."""
        if k[0] is ItemKind.SEGMENT:
            return k[1].split("/", 1)[0]
        return self.scene.made[k[1]][1] if k[1] in self.scene.made else k[1]

    # ── Segments ───────────────────────────────────────────────────────────────────────────────────────────

    def forwarded(self, at: float, site: str, before: Segment | None, after: Segment | None) -> None:
        plane = self.scene.planes.setdefault(site, {})
        if before is not None:
            plane.pop(key(before), None)
            self._numbers.get(before.vni, {}).pop((before.vpn, site), None)
        if after is not None:
            plane[key(after)] = after
            self._numbers.setdefault(after.vni, {})[after.vpn, site] = None
        if self.scene.doubtful(site):
            return
        if before is not None and after is None:
            self._segment_gone(at, site, before)
        elif before is None and after is not None:
            self._came(at, site, key(after))
        if after is not None:
            self._number(at, site, after)
            self._joins(at, site, after)
            self._routes(at, site, before, after)
        if before is not None and after is not None:
            self._remotes(at, site, before, after)

    def _number(self, at: float, site: str, segment: Segment) -> None:
        """I1: one VNI carries one Vpn, wherever (RFC 7348 section 5: segments of one VNI are one)."""
        for vpn, there in self._numbers[segment.vni]:
            if vpn != segment.vpn and not self.scene.doubtful(there):
                words = f"VNI {segment.vni} is used by Vpn {segment.vpn} at {site} and by Vpn {vpn} at {there}"
                self.scene.broken("I1", at, words)

    def _joins(self, at: float, site: str, segment: Segment) -> None:
        """I1, when two bridges become one network."""
        here = (site, segment.bridge)
        for place in self._joined(site, segment.bridge):
            self._addresses(at, here, place)

    def _routes(self, at: float, site: str, before: Segment | None, after: Segment) -> None:
        """I16: packets go to a member, and may come from it, for prefixes of which it has said itself that they are
        attached there; whatever the home writes."""
        had = {(r.site, p) for r in before.remotes for p in r.prefixes} if before is not None else set()
        for remote in after.remotes:
            new = [p for p in remote.prefixes if (remote.site, p) not in had]
            if new and not self.scene.doubtful(remote.site):
                said = self.scene.lately(at, site, answer_id(remote.site, after.vpn))
                stated = {p for answer in said for p in answer.body.prefixes}
                for prefix in [p for p in new if p not in stated]:
                    words = f"{site} routes {prefix} to {remote.site} in Vpn {after.vpn}, which has not said so"
                    self.scene.broken("I16", at, words)

    def _segment_gone(self, at: float, site: str, segment: Segment) -> None:
        if not self._may_go(at, site, segment.vpn, segment.network):
            self._no_reason(at, site, f"its segment of Vpn {segment.vpn}", segment.vpn)
        vpn = self.scene.disks.get(site, {}).get(segment.vpn)
        if vpn is not None and not vpn.live:
            self._removed.add((site, key(segment)))

    def _no_reason(self, at: float, site: str, words: str, vpn: str) -> None:
        if vpn in self.scene.disks.get(site, {}):
            self.scene.broken("rule 10", at, f"{site} removed {words}, which stands in its records")
        else:
            self.scene.broken("I22", at, f"{site} removed {words}, of which its disk says nothing")

    def _may_go(self, at: float, site: str, vpn: str, network: str) -> bool:
        """Whether the site's records say, or said just now, that its part in a Vpn is over."""
        if self._doubtful(vpn):
            return True
        words = [*self.scene.lately(at, site, answer_id(site, vpn))]
        return any(
            not record.live
            or member(record.body, site) is None
            # Its own word that it left may have come back to a store that is an old one.
            or any(_elsewhere(w.body, network) if w.live else w.body.order > record.order for w in words)
            for record in self.scene.lately(at, site, vpn)
        )

    def _doubtful(self, vpn: str) -> bool:
        """Whether a liar or a clone has a say in the Vpn: what it says ends may end."""
        record = self.scene.top.get(vpn)
        return record is None or self.scene.doubtful(record.home) or self.scene.doubtful(vpn.partition(".")[0])

    def _remotes(self, at: float, site: str, before: Segment, after: Segment) -> None:
        """Rule 10: a member is cut off only because it, the home, or an operator here said so."""
        kept = {r.site for r in after.remotes}
        for remote in before.remotes:
            if remote.site not in kept and not self._may_cut(at, site, after.vpn, remote.site):
                invariant = "I22" if site in self.scene.rolled else "rule 10"
                words = f"{site} cut {remote.site} off from Vpn {after.vpn}, and nothing in its records says why"
                self.scene.broken(invariant, at, words)

    def _may_cut(self, at: float, site: str, vpn: str, other: str) -> bool:
        scene = self.scene
        if self._doubtful(vpn) or scene.doubtful(other):
            return True
        if (site, other) in scene.forgot:
            return True
        versions = [*scene.lately(at, site, vpn)]
        if any(not v.live or member(v.body, other) is None or member(v.body, site) is None for v in versions):
            return True
        return any(
            not word.live or word.body.word not in AGREED or not word.body.endpoints
            for word in scene.lately(at, site, answer_id(other, vpn))
        )

    # ── I1 ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _joined(self, site: str, bridge: str) -> Iterable[Place]:
        """The bridges of other sites that L2 segments make one network with this one: both ends must let the other
        in, or no packet crosses."""
        for segment in self.scene.planes.get(site, {}).values():
            if segment.bridge != bridge or segment.kind is not VpnKind.L2:
                continue
            for remote in segment.remotes:
                for far in self.scene.planes.get(remote.site, {}).values():
                    if far.vpn == segment.vpn and any(r.site == site for r in far.remotes):
                        yield remote.site, far.bridge

    def _addresses(self, at: float, one: Place, other: Place) -> None:
        theirs = self._hosts.get(other, {})
        for host in self._hosts.get(one, {}).values():
            for there in theirs.values():
                if host is there or (one == other and host.id >= there.id):
                    continue
                both = {i.ip for i in host.interfaces} & {i.ip for i in there.interfaces}
                if both:
                    ends = sorted([f"{host.name} at {one[0]}", f"{there.name} at {other[0]}"])
                    address = min(both, key=lambda a: (a.version, int(a)))
                    self.scene.broken("I1", at, f"{' and '.join(ends)} both have {address} in one network")


def _elsewhere(word: object, network: str) -> bool:
    """Whether this answer of the site's no longer attaches that network."""
    assert isinstance(word, AnswerBody)
    return word.word is Word.REFUSED or word.network != network
