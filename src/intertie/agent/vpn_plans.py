"""Plans of changes to Vpns: what would happen at every member; and the check that a change does what its plan said.

A plan has a name, `base_version`. Whoever applies a change under that name is refused if the same wish would do
something else by now: the change is planned again, in the turn of the pen in which it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from intertie.agent.access import Caller, Role
from intertie.agent.agent import Agent
from intertie.agent.vpn_views import plan_view
from intertie.model.bodies import Attachment
from intertie.model.errors import Conflict
from intertie.model.records import Draft, Record
from intertie.model.views import PlanView, VpnRequest
from intertie.planning import change
from intertie.planning.admit import Situation
from intertie.planning.advertise import withdrawal
from intertie.planning.foresight import base_of, foresee, version_in, version_text

ANY = "*"
"""A base that every version is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a Vpn shall be: named so, with exactly these members."""

    name: str
    attachments: tuple[Attachment, ...]


class VpnPlans:
    """The use cases. `find` is the search for a Vpn as the caller sees it."""

    def __init__(self, agent: Agent, find: Callable[[Caller, str], Record]) -> None:
        self.agent = agent
        self._find = find

    def create(self, caller: Caller, request: VpnRequest) -> PlanView:
        """What making it would do, or why it would be refused."""
        caller.needs(Role.MEMBER)
        self.agent.needs_its_past()
        situation = self.agent.situation
        # Whatever its id will be, no line of the plan has it.
        draft = change.new_vpn(situation, request, caller.project, f"{self.agent.site}.plan", self.agent.now())
        return _view(situation, None, draft)

    def update(
        self, caller: Caller, wanted: str, name: str, attachments: Sequence[Attachment], base: str = ANY
    ) -> PlanView:
        """What the change would do, or why it would be refused."""
        caller.needs(Role.MEMBER)
        vpn = self._find(caller, wanted)
        check_version(vpn, base)
        self.agent.needs_its_past()
        situation = self.agent.situation
        wish = Wish(name, tuple(attachments))
        return _view(situation, vpn, changed(situation, vpn, wish))

    def delete(self, caller: Caller, wanted: str, base: str = ANY, force: bool = False) -> PlanView:
        """What ending it would do."""
        caller.needs(Role.MEMBER)
        vpn = self._find(caller, wanted)
        check_version(vpn, base)
        return _view(self.agent.situation, vpn, ended(vpn, force))


def changed(situation: Situation, vpn: Record, wish: Wish) -> Draft:
    """The next version as it is wished."""
    return change.changed_vpn(situation, vpn, wish.name or vpn.body.name, wish.attachments)


def ended(vpn: Record, force: bool) -> Draft:
    """The version that ends it: at once, or once its members have let go."""
    return withdrawal(vpn, vpn.body) if force and vpn.live else change.closed_vpn(vpn)


def as_planned(situation: Situation, vpn: Record | None, draft: Draft, base: str) -> Draft:
    """`draft`, if it does what the plan named `base` said; Conflict (stale) otherwise. A version alone names none,
    and what is new has no version."""
    free = base == ANY or (vpn is not None and "+" not in base)
    if not free and base_of(vpn, draft, foresee(situation, vpn, draft)) != base:
        raise Conflict(
            f"{draft.body.name}: this would not do any more what the plan {base} says",
            hint="plan it again, and look what has moved",
        )
    return draft


def check_version(vpn: Record, base: str) -> None:
    """Conflict (stale) if `base` is of another version than the one that stands."""
    if base != ANY and version_in(base) != version_text(vpn.order):
        raise Conflict(
            f"{vpn.body.name} is at version {version_text(vpn.order)}, not {base}", hint="look again, then ask again"
        )


def _view(situation: Situation, vpn: Record | None, draft: Draft) -> PlanView:
    foreseen = foresee(situation, vpn, draft)
    return replace(
        plan_view(base_of(vpn, draft, foreseen), foreseen.changes),
        refusals=plan_view("", foreseen.refusals).changes,
        notes=plan_view("", foreseen.notes).changes,
    )
