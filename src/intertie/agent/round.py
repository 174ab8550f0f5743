"""The round: look, decide, do, say. No input, ever; a poke only makes it run sooner.

First install, repair, restart and change are this one path. Each change is carried out alone: a failure becomes a
fact in this site's answer, and never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from intertie.agent import observed, upkeep
from intertie.agent.agent import Agent
from intertie.agent.exchange import SILENT_AFTER
from intertie.agent.health import Health
from intertie.agent.ports import Cloud, Look, Transport
from intertie.model.bodies import AnswerBody, SiteBody, VpnKind
from intertie.model.codec import one_line
from intertie.model.errors import IntertieError, Reason
from intertie.model.items import Host, Inventory, Item, ItemKind, Key, Network, Segment, key
from intertie.model.records import Draft, Kind
from intertie.planning.admit import AGREED, Situation
from intertie.planning.advertise import unsure
from intertie.planning.compile import compile_site, may_go, retained
from intertie.planning.diff import Change, Plan, diff
from intertie.planning.enrol import site_draft
from intertie.planning.identity import made_network

AUDIT = 60.0
"""Seconds after which everything is decided again, whether or not something is known to have touched it."""
BLOCKED = timedelta(seconds=12)
"""How long a segment stays blocked after a loop was last seen in it: two checks found none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one round did."""

    plan: Plan
    failures: tuple[tuple[Key, Reason], ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """What is wanted and what leads there, and all that it was made of: while that is the same, so is this."""

    compiled: Collection[Item]
    inventory: Inventory
    seen: Sequence[Item]
    wanted: Collection[Item]
    plan: Plan

    def holds(self, compiled: Collection[Item], inventory: Inventory, seen: Sequence[Item]) -> bool:
        # Records make another object when they change; what drivers see is compared.
        return compiled is self.compiled and inventory is self.inventory and seen == self.seen


class Rounds:
    """Runs rounds until cancelled."""

    def __init__(self, agent: Agent, cloud: Cloud, transport: Transport, health: Health, look: Look) -> None:
        self.agent = agent
        self.cloud = observed.WatchedDriver("cloud", cloud, agent)
        self.transport = observed.WatchedDriver("transport", transport, agent)
        self.health = health
        self._look = look
        self._lock = asyncio.Lock()
        self.orphans: tuple[Item, ...] = ()
        self._faults: dict[str, str] = {}
        self.rounds = 0
        self._audited = float("-inf")
        self._found: _Found | None = None
        self._quiet: _Found | None = None
        """What the last round found, if it left nothing to do and nothing to say."""

    async def run(self) -> None:
        """A round when something changed, and every few seconds anyway (drift makes no noise everywhere)."""
        watchers = [asyncio.create_task(self._listen(d)) for d in (self.cloud, self.transport)]
        try:
            while True:
                self.agent.poke.clear()
                await self.round()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.agent.settings.round_every):
                        await self.agent.poke.wait()
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _listen(self, driver: Transport) -> None:
        async for _ in driver.changes():
            self.agent.poke.set()

    async def first_look(self) -> None:
        """See what is here before anything is heard: without it every judgement would be made from nothing."""
        inventory = await self._look()
        self.agent.inventory = replace(inventory, vnis=_vnis(await self.transport.observe(None)))

    async def plan(self) -> Plan:
        """What the next round would do."""
        async with self._lock:
            return (await self._plan()).plan

    async def clear(self, choose: Callable[[Plan], Sequence[Item]]) -> Report:
        """Remove those of the orphans that `choose` names, each alone, in the order of the plan."""
        async with self._lock:
            await self._look_again()
            plan = (await self._plan()).plan
            going = tuple(Change(op="-", item=i) for i in choose(plan))
            failures = [f for c in going if (f := await self._carry_out(c)) is not None]
            if going:
                await self._look_again()
                self.orphans = (await self._plan()).plan.orphans
                self.agent.poke.set()
                self.agent.news.ring()
            return Report(plan=Plan(changes=going), failures=tuple(failures))

    async def _plan(self) -> _Found:
        """What this site is to hold, and what leads there."""
        agent = self.agent
        carried = await self.transport.observe(None)
        seen = [*await self.cloud.observe(None), *carried]
        compiled = compile_site(agent.table, agent.blocked)
        before, sure = self._found, not agent.untold()
        if sure and before is not None and before.holds(compiled, agent.inventory, seen):
            return before
        if (vnis := _vnis(carried)) != agent.inventory.vnis:
            agent.inventory = replace(agent.inventory, vnis=vnis)
        wanted = retained(agent.table, compiled, seen, self._unsure)
        ports = {n.id: n.ports for n in agent.inventory.networks}
        plan = diff(wanted, seen, self._may_go, lambda network: ports.get(network, 0))
        found = _Found(compiled, agent.inventory, _shared(seen, wanted), wanted, plan)
        # What is to be carried out is decided anew each time.
        self._found = found if sure and not plan.changes else None
        return found

    def _unsure(self, id: str) -> bool:
        """Whether what this site's store says of a Vpn may be older than what it said itself (rule 18)."""
        untold, vpn = self.agent.untold(), self.agent.table.get(id)
        return bool(untold) and (vpn is None or unsure(self.agent.table, vpn, untold))

    def _may_go(self, k: Key) -> bool:
        table = self.agent.table
        kind, id = k
        if kind is ItemKind.SEGMENT:
            vpns = [id.split("/", 1)[0]]
        else:
            vpns = [v.id for v in table.all_of(Kind.VPN) if made_network(table.site, v.id) == id]
        return not any(self._unsure(v) for v in vpns) and may_go(table, k)

    async def round(self) -> Report:
        """One round, whole. A fault of one driver is logged and met again at the next."""
        async with self._lock:
            try:
                report = await self._round()
                self.rounds += 1  # at its end: who waits for readiness finds everything looked at
                return report
            except IntertieError as error:
                self.agent.ports.log.warning("round failed", why=error.detail)
            except Exception:
                # The last resort of the loop: one bad object must never stop the others (CVE-2015-3221).
                self.agent.ports.log.exception("round failed")
            return Report(plan=Plan())

    @observed.rounded
    async def _round(self) -> Report:
        agent = self.agent
        agent.unblock(BLOCKED)
        await upkeep.write_again(agent)
        await self._look_again()
        if not agent.leads:
            return await self._stand_by()
        alone = not agent.cloned_at()
        if alone:
            await agent.write(self._site_facts)
        if agent.listen(SILENT_AFTER * agent.settings.heartbeat):
            await self._settle()
        found = await self._plan()
        self._tell_faults()
        if found is self._quiet and alone and not agent.failures:
            await self.health.keep()
            await self._end_of_round()
            return Report(plan=found.plan)
        self._quiet, plan = None, found.plan
        self.orphans = plan.orphans
        failures = await self._carry_out_all(plan.changes)
        self._note_failures({k[1]: reason.text for k, reason in failures})
        segments = tuple(sorted((i for i in found.wanted if isinstance(i, Segment)), key=key))
        failures += [(key(s), _loop(agent.site)) for s in segments if s.blocked]
        await self.health.watch(segments)
        if plan.changes:
            await self._look_again()
            agent.news.ring()
        sure = [s for s in segments if not self._unsure(s.vpn)]
        if alone:
            said = await agent.write(lambda s: realised(s, sure, dict(failures)))
            if not (plan.changes or failures or said):
                self._quiet = self._found
        await self._end_of_round()
        return Report(plan=plan, failures=tuple(failures))

    async def _end_of_round(self) -> None:
        await self.health.check_loops()
        if asyncio.get_running_loop().time() - self._audited > AUDIT:
            await self._settle()

    def _tell_faults(self) -> None:
        """Of records that decisions stumbled over, once each."""
        found = self.agent.table.faults
        for id in found.keys() - self._faults.keys():
            self.agent.tell("failed", id, self.agent.site, f"it is passed over: {found[id]}")
            self.agent.ports.log.warning("record passed over", record=id, why=found[id])
        self._faults = dict(found)

    async def _stand_by(self) -> Report:
        """Another agent of this site does what is to be done; this one knows how things are, and measures, so that it
        can answer users and take over."""
        found = await self._plan()
        self._quiet, self.orphans = None, found.plan.orphans
        self.agent.listen(SILENT_AFTER * self.agent.settings.heartbeat)
        await self.health.watch(tuple(sorted((i for i in found.wanted if isinstance(i, Segment)), key=key)))
        self._audited = float("-inf")
        return Report(plan=found.plan)

    async def look(self) -> None:
        """Know what the cloud holds now: among several agents, what the leader made of it since the last round."""
        self.agent.inventory = replace(await self._look(), vnis=self.agent.inventory.vnis)

    def _note_failures(self, failures: dict[str, str]) -> None:
        if failures != self.agent.failures:
            self.agent.relay("failed", failed=[(id, one_line(why)) for id, why in failures.items()])
        self.agent.failures = failures

    async def _look_again(self) -> None:
        """Look at the inventory; answers follow what changed in it (ports that went, networks that came)."""
        before = self.agent.inventory
        now = replace(await self._look(), vnis=before.vnis)
        if now != before:
            self.agent.inventory = now
            if self.agent.leads:
                await self._settle()

    async def _settle(self) -> None:
        self._audited = asyncio.get_running_loop().time()
        await self.agent.settle()

    async def _carry_out_all(self, changes: Iterable[Change]) -> list[tuple[Key, Reason]]:
        """Each alone; but nothing new is joined to a segment that was to go and did not."""
        failures: list[tuple[Key, Reason]] = []
        stuck: dict[str, Segment] = {}
        for change in changes:
            item = change.item
            joined = not isinstance(item, Network) and (isinstance(item, Host) or item.kind is VpnKind.L2)
            if change.op == "+" and joined and (left := stuck.get(item.bridge)) is not None:
                failures.append((key(item), _still_there(left)))
                continue
            failed = await self._carry_out(change)
            if failed is None:
                continue
            failures.append(failed)
            if change.op == "-" and isinstance(item, Segment) and item.kind is VpnKind.L2:
                stuck[item.bridge] = item
        return failures

    async def _carry_out(self, change: Change) -> tuple[Key, Reason] | None:
        driver = self.transport if isinstance(change.item, Segment) else self.cloud
        try:
            if change.op == "-":
                await driver.remove(change.item)
            else:
                await driver.ensure(change.item)
        except Exception as error:
            # Of the loop over changes: whatever one item does to its driver, the others are carried out.
            detail = error.detail if isinstance(error, IntertieError) else str(error) or type(error).__name__
            if not isinstance(error, IntertieError | OSError):
                self.agent.ports.log.exception("change failed", change=change.text)
            self.agent.warn("failed", key(change.item)[1], self.agent.site, f"{change.text}: {detail}")
            return key(change.item), Reason(code="failed", text=detail)
        self.agent.tell("change", key(change.item)[1], self.agent.site, change.text)
        return None

    def _site_facts(self, situation: Situation) -> list[Draft]:
        agent = self.agent
        body = SiteBody(
            name=agent.site,
            version=agent.settings.version,
            root=agent.ports.keys.root,
            address=agent.settings.address,
            underlay=situation.inventory.underlay,
            location=agent.settings.location,
            transports=situation.inventory.transports,
            cloud=agent.settings.cloud,
            cell=agent.settings.cell,
        )
        return site_draft(situation.table, body)


def _shared(seen: Iterable[Item], wanted: Iterable[Item]) -> list[Item]:
    """`seen`, with the wanted items in the place of their equals: nothing is kept in memory twice."""
    want = {key(i): i for i in wanted}
    return [w if (w := want.get(key(i))) == i and w is not None else i for i in seen]


def _vnis(carried: Iterable[Item]) -> frozenset[int]:
    return frozenset(item.vni for item in carried if isinstance(item, Segment))


def _still_there(segment: Segment) -> Reason:
    return Reason(
        code="failed",
        text=f"the segment of Vpn {segment.vpn} is still on {segment.bridge}",
        hint="nothing new is joined to it: it goes first, and is tried again each round",
    )


def _loop(site: str) -> Reason:
    return Reason(
        code="loop",
        text=f"a loop was seen at {site}: its segment is blocked",
        hint="two sites' networks are joined a second time: take that link away",
    )


def realised(situation: Situation, segments: Iterable[Segment], failures: dict[Key, Reason]) -> Collection[Draft]:
    """This site's answers, where what the drivers did is not yet what they say."""
    drafts = []
    for segment in segments:
        record = situation.table.answer_record(segment.vpn, situation.site)
        if record is None or not record.live or not isinstance(record.body, AnswerBody):
            continue
        failed = next((r for k, r in failures.items() if k[1] in (key(segment)[1], segment.network)), None)
        body = replace(record.body, realised=failed is None, failed=failed)
        if record.body.word in AGREED and body != record.body:
            drafts.append(
                Draft(kind=Kind.ANSWER, id=record.id, names=record.header.names, body=body, base=record.order)
            )
    return drafts
