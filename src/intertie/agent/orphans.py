"""Orphans: items that carry this site's mark and that no record explains (rule 19). They are shown and kept until
peers have told what they are, or until an operator collects them: those that nobody uses; the others if forced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from intertie.agent.access import Caller, Role
from intertie.agent.round import Rounds
from intertie.model.errors import Conflict
from intertie.model.items import Host, Item, Key, Network, key
from intertie.model.views import Collected, PlanChange
from intertie.planning.diff import Plan, describe


class Orphans:
    """The use cases."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._agent = rounds.agent

    async def plan(self, caller: Caller, force: bool = False) -> Collected:
        """What `collect` would remove."""
        caller.needs(Role.ADMIN)
        plan = await self._rounds.plan()
        return self._shown(plan.orphans, self._kept(plan, force))

    async def collect(self, caller: Caller, force: bool = False, base: str = "*") -> Collected:
        """Remove the orphans that are not in use; with `force`, hosts of ours and what they use as well. Conflict
        (stale) if `base` names another set of orphans than there is. What a driver refuses to remove is kept."""
        caller.needs(Role.ADMIN)
        seen: list[Item] = []
        kept: dict[Key, str] = {}

        def choose(plan: Plan) -> Sequence[Item]:
            if base not in ("*", _name(plan.orphans)):
                raise Conflict("the orphans are not those that were shown", hint="intertie gc --plan, and look again")
            kept.update(self._kept(plan, force))
            seen.extend(plan.orphans)
            return [i for i in plan.orphans if key(i) not in kept]

        report = await self._rounds.clear(choose)
        kept |= {k: reason.text for k, reason in report.failures}
        return self._shown(seen, kept)

    def _kept(self, plan: Plan, force: bool) -> dict[Key, str]:
        """Which orphans are not to go, and why."""
        ports = {n.id: n.ports for n in self._agent.inventory.networks}
        return {key(i): why for i in plan.orphans if (why := self._use(i, plan.orphans, ports, force))}

    def _use(self, item: Item, orphans: Sequence[Item], ports: Mapping[str, int], force: bool) -> str:
        """Why it stays; "" if it may go. By force go hosts, what forwards for them, and what they alone were on."""
        if isinstance(item, Network):
            ours = sum(isinstance(i, Host) and i.network == item.id for i in orphans) if force else 0
            return _in_use(ports.get(item.id, 0) - ours, "it")
        if force:
            return ""
        if isinstance(item, Host):
            return "it is a host, and may be running something"
        if untold := self._agent.untold():
            return f"{', '.join(sorted(untold))} may still tell what it is"
        return _in_use(ports.get(item.network, 0), "its network")

    def _shown(self, orphans: Sequence[Item], kept: Mapping[Key, str]) -> Collected:
        def line(item: Item, op: str, more: str = "") -> PlanChange:
            return PlanChange(
                site=self._agent.site, op=op, what=key(item)[0].value, text=f"{op} {describe(item)}{more}"
            )

        return Collected(
            base_version=_name(orphans),
            changes=tuple(line(i, "-") for i in orphans if key(i) not in kept),
            kept=tuple(line(i, "!", f": {kept[key(i)]}") for i in orphans if key(i) in kept),
        )


def _in_use(ports: int, where: str) -> str:
    return f"{ports} port{'' if ports == 1 else 's'} in use on {where}" if ports > 0 else ""


def _name(orphans: Sequence[Item]) -> str:
    """Of a set of orphans, so that what is removed is what was shown."""
    told = "\n".join(sorted(f"{key(i)} {describe(i)}" for i in orphans))
    return sha256(told.encode()).hexdigest()[:12]
