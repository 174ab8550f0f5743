"""What users do in a story: each step that they ask for, at the use cases behind the API of one site.

A request runs as the agent's process. If that dies, or stands still for longer than anybody waits, the user hears
nothing: then either outcome is possible, and the oracle knows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network
from typing import Any

from intertie.agent.access import Caller, Role
from intertie.model.bodies import Require, VpnKind
from intertie.model.errors import IntertieError
from intertie.model.views import VpnRequest
from intertie.testing.federation import Site, World, attachment
from intertie.testing.simulated_network import NOBODY
from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.watch import Told
from intertie.testing.virtual_time import Process

PATIENCE = 60.0
"""Seconds beyond what they asked to wait, after which users hang up."""

Deed = Callable[[Site, Caller, Step], Awaitable[Any]]


class Users:
    """All users of all sites."""

    def __init__(self, world: World, asked: Callable[[Step], None], told: Callable[[Told], None]) -> None:
        self.world = world
        self._asked = asked
        self._told = told
        self.vpns: dict[str, str] = {}
        """Name of a Vpn → its id, as the last user who made one of that name was told."""
        self.busy: dict[asyncio.Task[None], None] = {}

    def handles(self, step: Step) -> bool:
        return step.verb in DEEDS or step.verb is Verb.ENROL

    def ask(self, step: Step) -> None:
        """Ask for a step; the answer is told when it comes."""
        task = asyncio.get_running_loop().create_task(self._ask(step))
        self.busy[task] = None
        task.add_done_callback(self.busy.pop)

    async def _ask(self, step: Step) -> None:
        begun = asyncio.get_running_loop().time()
        if step.verb is Verb.ENROL and step.site not in self.world.settings:
            await self.world.site(step.site)
        site = self.world.running.get(step.site)
        if site is None or (step.verb is Verb.ENROL and step.other not in self.world.running):
            self._say(step, begun, "nothing", "there is no agent that could be asked")
            return
        self._asked(step)
        work = self._enrol(step) if step.verb is Verb.ENROL else DEEDS[step.verb](site, _caller(step), step)
        task = site.process.spawn(_wrapped(work))
        if not await _heard(task, site.process, step.seconds + PATIENCE):
            self._say(step, begun, "no-reply", "the agent died or stood still")
            return
        try:
            answer = task.result()
        except IntertieError as error:
            self._say(step, begun, error.code, error.detail)
        else:
            self._say(step, begun, "ok", "", answer)

    def _say(self, step: Step, begun: float, code: str, detail: str, answer: Any = None) -> None:
        answer = getattr(answer, "vpn", answer)  # an Outcome holds one
        id = str(getattr(answer, "id", ""))
        if step.verb is Verb.VPN and id:
            self.vpns[step.name] = id
        now = asyncio.get_running_loop().time()
        self._told(Told(step=step, begun=begun, at=now, code=code, detail=detail, id=id, answer=answer))

    async def _enrol(self, step: Step) -> None:
        """`other` invites, `site` joins; then each maps the other's project, and everybody whom they meet later."""
        inviter = self.world.running[step.other]
        token, _ = await inviter.enrolment.invite(step.site)
        await self.world.running[step.site].enrolment.join(token)
        await _map_everybody(self.world, step)


async def _map_everybody(world: World, step: Step) -> None:
    """As operators do once the sites have met: let `project` of each act as its own here, and the other way round."""
    await asyncio.sleep(2.0)
    joiner = world.running[step.site]
    for name in sorted(joiner.agent.pins()):
        await joiner.enrolment.map(name, step.project, step.project)
        there = world.running.get(name)
        if there is not None and step.site in there.agent.pins():
            await there.enrolment.map(step.site, step.project, step.project)


async def _wrapped(work: Awaitable[Any]) -> Any:
    return await work


async def _heard(task: asyncio.Task[Any], process: Process, limit: float) -> bool:
    """Whether the task ended while its process lived and somebody still listened."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    task.add_done_callback(end, context=NOBODY.copy())
    process.at_death.append(end)
    try:
        async with asyncio.timeout(limit):
            await over
    except TimeoutError:
        return False
    finally:
        if end in process.at_death:
            process.at_death.remove(end)
    return task.done()


def _caller(step: Step) -> Caller:
    operators = step.verb in (Verb.ADOPT, Verb.FORGET, Verb.MAP)
    return Caller(project=step.project, role=Role.ADMIN if operators else Role.MEMBER)


async def _network(site: Site, caller: Caller, step: Step) -> Any:
    return await site.networks.create(caller, step.name, [ip_network(p) for p in step.prefixes])


async def _drop_network(site: Site, caller: Caller, step: Step) -> Any:
    await site.networks.delete(caller, step.name)


async def _host(site: Site, caller: Caller, step: Step) -> Any:
    addresses = [ip_address(a) for a in step.prefixes]
    return await site.networks.create_host(caller, step.name, step.network, addresses)


async def _drop_host(site: Site, caller: Caller, step: Step) -> Any:
    await site.networks.delete_host(caller, step.name)


async def _vpn(site: Site, caller: Caller, step: Step) -> Any:
    request = VpnRequest(
        name=step.name,
        kind=VpnKind(step.kind),
        attachments=tuple(attachment(a) for a in step.attachments),
        require=Require(step.require),
    )
    return await site.vpns.create(caller, request, step.seconds, step.point)


async def _change(site: Site, caller: Caller, step: Step) -> Any:
    attachments = tuple(attachment(a) for a in step.attachments)
    return await site.vpns.update(caller, step.name, "", attachments, "*", step.seconds)


async def _delete(site: Site, caller: Caller, step: Step) -> Any:
    return await site.vpns.delete(caller, step.name, "*", step.force, step.seconds)


async def _adopt(site: Site, caller: Caller, step: Step) -> Any:
    return await site.vpns.adopt(caller, step.name, force=True)


async def _verify(site: Site, caller: Caller, step: Step) -> Any:
    return await site.vpns.verify(caller, step.name)


async def _forget(site: Site, caller: Caller, step: Step) -> Any:
    await site.enrolment.forget(step.other)


async def _map(site: Site, caller: Caller, step: Step) -> Any:
    may = ("l2", "l3", "read") if step.amount else ()
    return await site.enrolment.map(step.other, step.project, step.project, may)


DEEDS: dict[Verb, Deed] = {
    Verb.NETWORK: _network,
    Verb.DROP_NETWORK: _drop_network,
    Verb.HOST: _host,
    Verb.DROP_HOST: _drop_host,
    Verb.VPN: _vpn,
    Verb.CHANGE: _change,
    Verb.DELETE: _delete,
    Verb.ADOPT: _adopt,
    Verb.VERIFY: _verify,
    Verb.FORGET: _forget,
    Verb.MAP: _map,
}
