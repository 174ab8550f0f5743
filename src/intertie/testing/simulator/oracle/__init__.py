"""The oracle: was an invariant of the federation broken, judged from outside alone?

It stands where a user, an auditor and a packet stand. It keeps its own picture of what disks hold for sure, what
clouds and data planes have, what users asked and heard, and what the story broke; it compares them with the rules.

    scene     the picture, kept incrementally
    records   what is wrong with a record at the moment when it is forced to a disk
    world     what is wrong with a host, network or segment at the moment when it comes, changes or goes
    asked     what is wrong with what a site decides because a user asked
    held      what is wrong with a yes or no, beside what was promised before
    sight     what users are shown while a link is cut
    users     what users heard against what there is; messages; operations that never end
    rest      what is wrong when everything is healed and quiet

Where the outcome of an operation was never told (a crash), both outcomes are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from intertie.agent.access import Caller
from intertie.model.bodies import AnswerBody
from intertie.model.items import Item, Segment, key
from intertie.model.records import Record
from intertie.model.views import HostView, NetworkView, VpnView
from intertie.testing.fake_cloud import FakeSystem
from intertie.testing.fake_transport import FakeUnderlay
from intertie.testing.simulator.oracle.records import RecordJudge
from intertie.testing.simulator.oracle.rest import RestJudge
from intertie.testing.simulator.oracle.scene import Scene, named
from intertie.testing.simulator.oracle.sight import SightJudge
from intertie.testing.simulator.oracle.twins import TwinJudge
from intertie.testing.simulator.oracle.users import Books
from intertie.testing.simulator.oracle.world import WorldJudge
from intertie.testing.simulator.story import Step, Verb, Violation
from intertie.testing.simulator.watch import Told


class Outside(Protocol):
    """What the oracle may look at. Nothing of an agent's memory but what a user is answered."""

    def sites(self) -> Sequence[str]:
        """All sites of the story."""
        ...

    def runs(self, site: str) -> bool:
        """Whether its agent runs."""
        ...

    def system(self, site: str) -> FakeSystem:
        """Its cloud."""
        ...

    def underlay(self) -> FakeUnderlay:
        """All data planes."""
        ...

    def records(self, site: str) -> Mapping[str, Record]:
        """What its disk holds for sure."""
        ...

    def genuine(self, record: Record) -> bool:
        """Whether the signature is that of the record's home."""
        ...

    def vpns(self, site: str, caller: Caller) -> Sequence[VpnView]:
        """What GET /v1/vpns answers there."""
        ...

    def networks(self, site: str, caller: Caller) -> Sequence[NetworkView]: ...

    def hosts(self, site: str, caller: Caller) -> Sequence[HostView]: ...


ROUNDS = 16.0
"""Seconds after rest in which nobody but the agents' own rounds acts (I14); later, old messages come again (I13)."""


class Oracle:
    """A `Watcher` that judges. `begin` when the federation stands; `violations` holds what it found."""

    def __init__(self, view: Outside) -> None:
        self._scene = Scene(view)
        self._records = RecordJudge(self._scene)
        self._world = WorldJudge(self._scene)
        self._users = Books(self._scene)
        self._sight = SightJudge(self._scene)
        self._rest = RestJudge(self._scene, self._records)
        self._twins = TwinJudge(self._scene)
        self._asked = 0
        self._rested: float | None = None

    @property
    def violations(self) -> list[Violation]:
        return self._scene.violations

    def begin(self) -> None:
        """Take in what is there before the story begins."""
        self._scene.look()
        self._world.look()
        self._asked = sum(len(d) for d in self._scene.disks.values())

    # ── Watcher ────────────────────────────────────────────────────────────────────────────────────────────

    def wrote(self, at: float, site: str, puts: Mapping[str, Record]) -> None:
        if self._rested is not None:
            for record in puts.values():
                self._late(at, site, record)
        self._users.moved(at)
        self._twins.wrote(at, site, puts)
        self._records.wrote(at, site, puts)

    def changed(self, at: float, site: str, before: Item | None, after: Item | None) -> None:
        self._world.changed(at, site, before, after)
        self._still(at, site, before or after)

    def forwarded(self, at: float, site: str, before: Segment | None, after: Segment | None) -> None:
        self._world.forwarded(at, site, before, after)
        self._still(at, site, before or after)

    def sent(self, at: float, site: str, to: str, what: str, fate: str) -> None:
        if fate != "twice":
            self._users.sent(at, site, to, what)

    def asked(self, at: float, step: Step) -> None:
        self._asked += 1
        self._scene.asked(step)
        self._users.asked(at, step)
        self._records.asked.asked(at, step)
        self._sight.look(at)

    def told(self, told: Told) -> None:
        self._users.told(told)
        self._sight.told(told)
        self._records.asked.told(told, sum(step.site == told.step.site for _, step in self._users.open.values()))

    def struck(self, at: float, step: Step) -> None:
        self._scene.struck(at, step)
        self._users.struck(at, step)
        self._sight.struck(at, step)
        self._twins.struck(at, step)
        self._records.asked.struck(step)
        if step.verb in (Verb.LOSE_STORE, Verb.RESTORE):
            self._world.rolled(step.site)

    def rested(self, at: float) -> None:
        self._users.rested(at)
        self._rest.rested(at, self._asked, self._users.projects)
        self._rested = at

    # ── After rest ─────────────────────────────────────────────────────────────────────────────────────────

    def _still(self, at: float, site: str, item: Item | None) -> None:
        """I14, I13: nothing is asked for any more, so nothing is done any more."""
        if self._rested is not None and item is not None and self._rest.calm(site):
            kind, id = key(item)
            what = f"{site} writes {kind.value} {id} when all is quiet"
            self._scene.broken(self._quiet(at), at, what)

    def _late(self, at: float, site: str, record: Record) -> None:
        # A proposal ends by its own clock, and the answer to it with it.
        body = record.body
        proposal = ".proposal." in (body.vpn if isinstance(body, AnswerBody) else record.id)
        # What was under way when the site left, and never came, is no news of anything that goes on.
        top = self._scene.top.get(record.id, record)
        over = top.order > record.order and not top.concerns(site)
        if not proposal and not over and self._rest.calm(site) and self._rest.calm(record.home):
            self._scene.broken(self._quiet(at), at, f"{site} writes {named(record)} when all is quiet")

    def _quiet(self, at: float) -> str:
        assert self._rested is not None
        return "I14" if at <= self._rested + ROUNDS else "I13"
