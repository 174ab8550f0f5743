"""Mistakes within one site: the round, its drivers, evidence for removal, health from packets (rules 6, 19; I14)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from intertie.model.errors import Unavailable
from intertie.model.items import ItemKind, Key, Segment
from intertie.model.views import Health, Phase
from intertie.planning.diff import Change
from intertie.testing.simulator.plants.plant import always, planted

# ── Evidence ───────────────────────────────────────────────────────────────────────────────────────────────


@planted("planning.compile.may_go", expects=("I22", "rule 19"), profiles=("disks", "mixed"))
def orphans_removed(right: Any) -> Any:
    """What no record explains is removed: a site that starts with an empty store takes its data plane down."""

    def wrong(table: Any, key: Key) -> bool:
        kind, id = key
        known = table.get(id.split("/", 1)[0] if kind is ItemKind.SEGMENT else id)
        return known is None or bool(right(table, key))

    return wrong


@planted(
    "planning.compile.retained",
    expects=("I22", "rule 19", "rule 10"),
    profiles=("disks", "mixed"),
    also={"agent.round.Rounds._unsure": always(False)},
)
def remotes_not_heard_of_yet_removed(right: Any) -> Any:
    """While a lost store fills again, members that were not heard of yet are taken out of the segments."""

    def wrong(table: Any, wanted: Any, seen: Any, *rest: Any) -> Any:
        return frozenset(wanted)

    return wrong


@planted(
    "planning.compile._stands_here",
    expects=("I22", "rule 19", "rule 10"),
    profiles=("disks", "unseen"),
    also={"agent.round.Rounds._unsure": always(False)},
)
def not_answered_yet_means_not_wanted(right: Any) -> Any:
    """A segment of a Vpn that this site has not answered (again) yet is removed."""

    def wrong(table: Any, vpn: Any, network: str) -> bool:
        return table.own_answer(vpn.id) is not None and bool(right(table, vpn, network))

    return wrong


# ── Rounds ─────────────────────────────────────────────────────────────────────────────────────────────────


@planted("agent.round.Rounds._plan", expects=("I14",), profiles=("calm", "mixed"))
def round_sets_everything_up_again(right: Any) -> Any:
    """Every now and then a round takes segments down and sets them up again, to be sure."""
    last: dict[str, float] = {}

    async def wrong(self: Any) -> Any:
        found = await right(self)
        now = asyncio.get_running_loop().time()
        again: list[Change] = []
        for item in sorted((i for i in found.wanted if isinstance(i, Segment)), key=lambda s: (s.vpn, str(s.local))):
            place = f"{item.vpn} {item.local}"
            if item in found.seen and now - last.setdefault(place, now) > 30.0:
                last[place] = now
                again += [Change(op="-", item=item), Change(op="+", item=item)]
        plan = replace(found.plan, changes=(*found.plan.changes, *again))
        return replace(found, plan=plan) if again else found

    return wrong


@planted("agent.round.Rounds._look_again", expects=("rule 12", "rule 11"), profiles=("churn", "mixed"))
def stale_inventory(right: Any) -> Any:
    """Ports and addresses in use are counted once a minute, and believed in between."""
    counted: dict[str, tuple[float, dict[str, Any]]] = {}

    async def wrong(self: Any) -> None:
        now = asyncio.get_running_loop().time()
        at, known = counted.get(self.agent.boot, (float("-inf"), {}))
        await right(self)
        networks = {n.id: n for n in self.agent.inventory.networks}
        if now - at >= 60.0:
            counted[self.agent.boot] = now, networks
            return
        old = tuple(
            replace(n, ports=known[n.id].ports, addresses_in_use=known[n.id].addresses_in_use) if n.id in known else n
            for n in networks.values()
        )
        self.agent.inventory = replace(self.agent.inventory, networks=old)

    return wrong


@planted("agent.round.Rounds._carry_out", expects=("I5", "rule 9"), profiles=("clouds", "mixed"))
def driver_failure_not_told(right: Any) -> Any:
    """A driver's failure is logged, and the answer says that all is realised."""

    async def wrong(self: Any, change: Any) -> None:
        await right(self, change)

    return wrong


@planted("agent.networks.Networks.create_host", expects=("I15",), profiles=("partitions", "mixed"))
def local_requests_wait_for_peers(right: Any) -> Any:
    """A host is made only while all peers answer."""

    async def wrong(self: Any, *args: Any, **kwargs: Any) -> Any:
        silent = sorted(name for name, peer in self.agent.peers.items() if peer.failures)
        if silent:
            raise Unavailable(f"{', '.join(silent)} does not answer", code="owner-silent")
        return await right(self, *args, **kwargs)

    return wrong


# ── Health ─────────────────────────────────────────────────────────────────────────────────────────────────


def _does_not_fade(right: Any) -> Any:
    def wrong(self: Any) -> Any:
        window, self.agent.settings = self.agent.settings, replace(self.agent.settings, heartbeat=1e9)
        try:
            return right(self)
        finally:
            self.agent.settings = window

    return wrong


@planted(
    "agent.health.Health._state",
    expects=("I5",),
    profiles=("partitions", "mixed"),
    also={"agent.health.Health.sights": _does_not_fade},
)
def sight_believed_for_ever(right: Any) -> Any:
    """A pair through which a probe once crossed is ready, also when nothing crosses any more."""

    def wrong(self: Any, pair: Any) -> Health:
        return Health.READY if pair.last_ok is not None else right(self, pair)

    return wrong


@planted("planning.status.phase_of", expects=("I5",), profiles=("partitions", "mixed"))
def ready_since_it_is_configured(right: Any) -> Any:
    """A Vpn is shown ready once all have accepted; whether packets cross is not looked at."""

    def wrong(vpn: Any, body: Any, answers: Any, pairs: Any) -> Any:
        return right(vpn, body, answers, tuple(replace(p, health=Health.READY) for p in pairs))

    return wrong


@planted("agent.vpns._settled", expects=("I5", "rule 9"), profiles=("mixed", "partitions"))
def success_before_all_have_answered(right: Any) -> Any:
    """Who waits for a Vpn hears of success as soon as its home has it; a refusal comes too late."""

    def wrong(found: Any, record: Any) -> bool:
        return found.phase is not Phase.REFUSED

    return wrong
