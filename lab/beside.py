"""Intertie agents beside the regions of a lab: one in each site's namespace, enrolled, projects `demo` mapped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from intertie.client import Client, connect
from lab.agent import SLOW, Agent
from lab.environment import LabError
from lab.regions import Lab
from lab.settings import Region
from lab.sites import Site, run

NAMES = ("nantes", "lyon", "rennes", "brest")
USERS = 7575


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One agent. `tenant` speaks for project demo of its cloud, `operator` for the site."""

    name: str
    region: Region
    site: Site
    agent: Agent
    project: str
    token: str
    tenant: Client
    operator: Client

    @property
    def url(self) -> str:
        return self.agent.url

    @property
    def dir(self) -> Path:
        return self.agent.dir


@contextmanager
def agents(lab: Lab, base: int = USERS) -> Iterator[list[Beside]]:
    """Agents of all regions, until the block ends. User APIs are on the host's 127.0.0.1, from port `base` on."""
    with ExitStack() as ends:
        ends.callback(_clear, NAMES[: len(lab.regions)])
        started = [_start(lab, number, base + number, ends) for number in range(len(lab.regions))]
        found = [_beside(lab, number, agent, ends) for number, agent in enumerate(started)]
        _enrol(found)
        yield found


def _start(lab: Lab, number: int, port: int, ends: ExitStack) -> Agent:
    name, region, site = NAMES[number], lab.regions[number], lab.sites[number]
    agent = Agent(lab.folder / name, site.namespace, port)
    settings = {"cloud": region.cloud, "clouds_file": str(lab.service_yaml), "ovsdb": site.ovsdb}
    lines = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    agent.init(name, site.underlay, f"\n[openstack]\n{lines}")
    agent.start()
    ends.callback(agent.end)
    return agent


def _clear(names: Sequence[str]) -> None:
    """Routers that agents made go with the lab, whatever Vpns were left."""
    for space in run("ip", "netns", "list").split():
        if space.startswith(tuple(f"{name}-r-" for name in names)):
            run("ip", "netns", "delete", space)


def _beside(lab: Lab, number: int, agent: Agent, ends: ExitStack) -> Beside:
    """The agent, once it answers."""
    project = lab.tenants[lab.regions[number].keystone]["demo"]
    operator = ends.enter_context(agent.up())
    token = operator.tokens.create(project).value.token
    return Beside(
        name=NAMES[number],
        region=lab.regions[number],
        site=lab.sites[number],
        agent=agent,
        project=project,
        token=token,
        tenant=ends.enter_context(connect(agent.url, token=token)),
        operator=operator,
    )


def _enrol(found: Sequence[Beside]) -> None:
    first, *others = found
    for each in others:
        each.operator.peers.join(first.operator.invite(each.name).value.token)
    pairs = [(a, b) for a in found for b in found if a is not b]
    end = time.monotonic() + SLOW
    for a, b in pairs:
        while b.name not in {peer.name for peer in a.operator.peers.list() if peer.state == "up"}:
            if time.monotonic() > end:
                raise LabError(f"{a.name} and {b.name} do not come to know each other")
            if any(p.name == b.name and p.introduced_by for p in a.operator.peers.list()):
                a.operator.peers.approve(b.name)
            time.sleep(0.2)
        a.operator.peers.map(b.name, b.project, a.project)
