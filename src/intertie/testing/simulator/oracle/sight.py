"""What users are shown while a link is cut (I5): nothing is ready through which no packet goes."""

from __future__ import annotations

from dataclasses import dataclass

from intertie.agent.access import Caller, Role
from intertie.testing.simulator.oracle.scene import Scene
from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.watch import Told

OPERATOR = Caller(project="demo", role=Role.ADMIN)
SEEN_AFTER = 60.0
"""Seconds after which probes, and what others told of theirs, have long faded."""


@dataclass(slots=True)
class _Cut:
    begun: float
    ends: float
    sites: tuple[str, str]


class SightJudge:
    """Looks, once a cut, at what both its ends show while it lasts."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._cuts: list[_Cut] = []

    def struck(self, at: float, step: Step) -> None:
        if step.verb is Verb.HEAL:
            self._cuts.clear()
        elif step.verb is Verb.CUT:
            # Another cut of the two may end this one.
            pair = (step.site, step.other)
            self._cuts = [c for c in self._cuts if set(c.sites) != set(pair)]
            if step.seconds == 0 or step.seconds > SEEN_AFTER:
                self._cuts.append(_Cut(at, at + step.seconds if step.seconds else float("inf"), pair))
        self.look(at)

    def look(self, at: float) -> None:
        """Something happens: a good moment to see what users would see."""
        for cut in [c for c in self._cuts if at - c.begun > SEEN_AFTER]:
            self._cuts.remove(cut)
            if at < cut.ends:
                for site in cut.sites:
                    self._shown(at, site, cut)

    def _shown(self, at: float, site: str, cut: _Cut) -> None:
        view, other = self.scene.view, cut.sites[cut.sites[0] == site]
        if not view.runs(site):
            return
        for found in view.vpns(site, OPERATOR):
            pair = next((p for p in found.pairs if {p.from_, p.to} == {site, other}), None)
            crosses = view.underlay().crosses
            if pair is None or (crosses(found.id, site, other) and crosses(found.id, other, site)):
                continue
            if pair.health.value == "ready" or found.phase.value == "ready":
                words = f"{site} shows Vpn {found.name} as {found.phase.value}, its pair with {other} as"
                self.scene.broken("I5", at, f"{words} {pair.health.value}; nothing crosses since {cut.begun:.0f}")

    def told(self, told: Told) -> None:
        """Whoever waits for a Vpn hears of success when all have answered, or when the wait is over (rule 9)."""
        step, view = told.step, told.answer
        if step.verb is not Verb.VPN or told.code != "ok" or told.at - told.begun >= step.seconds - 0.1:
            return
        silent = [m.site for m in getattr(view, "members", ()) if m.answer == "waiting" and not m.leaving]
        if silent and getattr(view, "phase", None) is not None and view.phase.value != "refused":
            words = f"{step.site} told its user of success with Vpn {step.name}"
            self.scene.broken("rule 9", told.at, f"{words} before {', '.join(silent)} had answered")
