"""First come, first held (rules 8 and 11): what a site says yes or no to, against what it has said yes to before.

Each answer is judged at the moment when it is forced to its own site's disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from intertie.model.bodies import AnswerBody, HostBody, VpnBody, VpnKind, Word
from intertie.model.records import Kind, Record
from intertie.planning import ranges
from intertie.testing.simulator.oracle.scene import AGREED, Disk, Scene, clash, member, named

CROSSED = re.compile(r"\S+ at (\S+) overlaps \S+ at (\S+)")
"""How a site says that its prefix cannot stand beside another member's."""


class HeldJudge:
    """Looks at every answer that its site has just decided."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def decided(self, at: float, site: str, record: Record, disk: Disk) -> None:
        """`disk` is as it was before."""
        body = record.body
        if not record.live or not isinstance(body, AnswerBody):
            return
        vpn = disk.get(body.vpn)
        if vpn is None or not isinstance(vpn.body, VpnBody):
            return
        if body.word is Word.REFUSED:
            self._order(at, site, body, vpn)
        elif body.word is Word.ACCEPTED:
            for other, name in self._others(site, record, body, disk):
                self._meet(at, site, body, vpn, other, name)
            if vpn.body.kind is VpnKind.L2:
                self._in_use(at, site, body, vpn, disk)
        if body.realised and not any(s.vpn == vpn.id for s in self.scene.planes.get(site, {}).values()):
            self.scene.broken("I5", at, f"{site} says that Vpn {vpn.id} is realised; it has no segment of it")

    def _others(self, site: str, record: Record, body: AnswerBody, disk: Disk) -> Iterator[tuple[AnswerBody, Record]]:
        """This site's other promises on the same network, and the Vpns that they were given to."""
        for held in disk.values():
            word = held.body
            if not isinstance(word, AnswerBody) or held.home != site or not held.live or held.id == record.id:
                continue
            vpn = disk.get(word.vpn)
            if word.network != body.network or word.word not in AGREED or vpn is None or not vpn.live:
                continue
            if isinstance(vpn.body, VpnBody) and member(vpn.body, site) is not None:
                yield word, vpn

    def _meet(self, at: float, site: str, body: AnswerBody, vpn: Record, other: AnswerBody, theirs: Record) -> None:
        kinds = {vpn.body.kind, theirs.body.kind}
        if kinds == {VpnKind.L2}:
            words = f"{site} stretches {body.network} into {named(vpn)} and into {named(theirs)}"
            self.scene.broken("rule 11", at, words)
        elif kinds == {VpnKind.L3} and (pair := clash(body.routes, other.routes)):
            words = f"{site} routes {pair[0]} of {named(vpn)} and {pair[1]} of {named(theirs)} on one network"
            self.scene.broken("rule 11", at, words)

    def _in_use(self, at: float, site: str, body: AnswerBody, vpn: Record, disk: Disk) -> None:
        """I1: who lets its network be cut holds at least the addresses that its hosts have."""
        for host in disk.values():
            mine = host.header.kind is Kind.HOST and host.live and isinstance(host.body, HostBody)
            if not mine or host.body.network != body.network:
                continue
            lost = [a for a in host.body.addresses if not ranges.within(a, body.ranges)]
            if lost:
                words = f"{site} accepts {named(vpn)} without holding {lost[0]}, which host {host.body.name} has"
                self.scene.broken("I1", at, words)

    def _order(self, at: float, site: str, body: AnswerBody, vpn: Record) -> None:
        """Rule 8: of two members whose answers cross, the one that stands earlier in the list stays."""
        found = CROSSED.match(body.reason.text) if body.reason is not None else None
        if found is None or found[1] != site:
            return
        places = [a.site for a in vpn.body.attachments]
        if found[2] in places and places.index(found[2]) > places.index(site):
            words = f"{site} refuses {named(vpn)} for {found[2]}, which stands later in its list"
            self.scene.broken("rule 8", at, words)
