"""Whether space goes where it is needed (rules 15 and 16), judged when everything is at rest.

A member that runs low while others that it reaches have plenty must have got more by then. What is free is counted
from the hosts on its disk, not read from what it says of itself.
"""

from __future__ import annotations

from intertie.model.bodies import AnswerBody, HostBody, Prefix, VpnBody, VpnKind, Word
from intertie.model.records import Kind, Record, State
from intertie.planning import ranges
from intertie.testing.simulator.oracle.scene import Scene, member

FEW = 2
"""Free addresses: fewer is low."""
PLENTY = 8
"""So many more somebody else has to have, before it is a fault that nothing came."""


class PlentyJudge:
    """Looks at every L2 Vpn that stands."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def rested(self, at: float, vpn: Record, body: VpnBody) -> None:
        """Everybody in it trusts everybody, runs, and has had time."""
        if body.kind is not VpnKind.L2 or vpn.header.state is not State.LIVE:
            return
        words = {a.site: self.scene.word(a.site, a.site, vpn.id) for a in body.attachments}
        holders = {s: w for s, w in words.items() if w is not None and self._takes_part(s, w, body)}
        for prefix in body.prefixes:
            free = {s: self._free(s, w, prefix) for s, w in holders.items()}
            for site, count in free.items():
                most, rich = max(((n, s) for s, n in free.items() if s != site), default=(0, ""))
                if count < FEW and most - count >= PLENTY:
                    words_ = f"{site} has {count} free addresses of {prefix} in {vpn.id}, {rich} has {most}"
                    self.scene.broken("rule 15", at, f"{words_}, and gave it none")

    def _takes_part(self, site: str, word: AnswerBody, body: VpnBody) -> bool:
        named = member(body, site)
        return word.word is Word.ACCEPTED and named is not None and not named.leaving

    def _free(self, site: str, word: AnswerBody, prefix: Prefix) -> int:
        hosts = [
            a
            for r in self.scene.disks[site].values()
            if r.live
            and r.header.kind is Kind.HOST
            and isinstance(r.body, HostBody)
            and r.body.network == word.network
            for a in r.body.addresses
        ]
        return sum(ranges.count(rs) for rs in ranges.vacant(word.ranges, [*hosts, *word.gateways], (prefix,)))
