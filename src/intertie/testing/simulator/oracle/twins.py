"""Rule 18: two live agents of a site on two stores are told apart, nothing of either is taken, and both stop writing.

Judged only where nothing else was in the way: peers that can be called, of which and of the site nothing broke since
before the copy began to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from intertie.model.bodies import SiteBody
from intertie.model.records import Record
from intertie.planning.hearing import SPOKEN
from intertie.planning.identity import site_id
from intertie.testing.simulator.oracle.scene import Scene, named
from intertie.testing.simulator.story import Step, Verb

TOLD_APART = 62.0
"""Seconds after which both have spoken with each peer often enough: three beats, and some more."""
LASTS = 120.0
"""Seconds for which a fault may be felt after its end: calls time out, agents back off."""
HARMLESS = frozenset({Verb.BACKUP, Verb.CLOCK, Verb.OCCUPY, Verb.BREAK_SEGMENT})


@dataclass(frozen=True, slots=True)
class _Twin:
    begun: float
    ends: float


class TwinJudge:
    """Looks at what is written while a copy runs."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._twins: dict[str, _Twin] = {}
        self._broken: dict[str, float] = {}
        """Site → until when something may be in its way."""
        self._ended = False

    def struck(self, at: float, step: Step) -> None:
        if step.verb is Verb.CLONE:
            running = self._twins.get(step.site)
            if running is None or running.ends < at:
                self._twins[step.site] = _Twin(at, at + step.seconds)
        elif step.verb is Verb.HEAL:
            self._twins.clear()
        elif step.verb not in HARMLESS:
            until = inf if step.verb is Verb.CRASH else at + step.seconds + LASTS
            for site in [step.site, step.other] if step.site else self.scene.disks:
                self._broken[site] = max(until, self._broken.get(site, 0.0))

    def wrote(self, at: float, site: str, puts: Mapping[str, Record]) -> None:
        for home in sorted({r.home for r in puts.values()} & self._twins.keys()):
            twin = self._twins[home]
            if not twin.begun + TOLD_APART < at < twin.ends:
                continue
            records = [r for r in puts.values() if r.home == home and r.header.kind in SPOKEN]
            hear = [p for p in self.scene.disks if p != home and self._hears(p, home, twin)]
            if site in hear and records:
                words = f"{site} took {named(records[0])} {at - twin.begun:.0f} s after {home} was there twice"
                self.scene.broken("rule 18", at, words)
            elif site == home and hear and records:
                words = f"{home} wrote {named(records[0])} {at - twin.begun:.0f} s after it was there twice"
                self.scene.broken("rule 18", at, f"{words}, and {hear[0]} knew")

    def _hears(self, peer: str, site: str, twin: _Twin) -> bool:
        """Whether nothing kept the peer from hearing both."""
        scene = self.scene
        word = scene.top.get(site_id(peer))
        callable_ = word is not None and isinstance(word.body, SiteBody) and bool(word.body.address)
        fine = all(self._broken.get(s, 0.0) < twin.begun and s not in self._twins_but(site) for s in (peer, site))
        return callable_ and fine and scene.trusts(peer, site) and scene.trusts(site, peer)

    def _twins_but(self, site: str) -> set[str]:
        return self._twins.keys() - {site}
