"""A federation as a user meets it while something is wrong: what the API says, and what clouds and data planes hold.

The same scene for every cell of docs/partitions.md:

    nantes   home of the L2 Vpn `stretch`, which stretches its network `blue`
    lyon     a member: the peer that falls silent
    rennes   a member: where a user stands who is not at the home
    brest, quimper   two more members, where a majority is to be lost

A backup is made of the user's site when all this stands; after it, the Vpn gets another version and the site a host
`late`. Each site also has a network `db` (for L3), and the user's one `spare` (for what is made while something is
wrong). `metz` belongs to the federation only where a test lets it in.

What is asserted stands outside the agents: problem documents and Vpns as the API gives them, bridges, hosts and
segments as the fakes hold them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI

from intertie.api import Services, build
from intertie.store.memory import Disk
from intertie.testing.federation import OPERATOR, Site, World, attachment
from tests.unit.api_lab import Api, services_of, wish

THREE = ("nantes", "lyon", "rennes")
FIVE = (*THREE, "brest", "quimper")
HOME, PEER, MEMBER = THREE

Picture = dict[str, Any]

_turned = SimpleNamespace()
"""The services of the site that is asked just now."""


@cache
def _app() -> FastAPI:
    """The API, built once: that takes longer than most scenes."""
    return build(cast(Services, _turned))


@dataclass
class Lab:
    """One scene. `here` is where the user stands."""

    world: World
    here: str
    sites: tuple[str, ...]
    stretch: str = ""
    """The id of the Vpn that stands."""
    backup: Disk = field(default_factory=Disk)
    """Of the disk at `here`, older than the last change."""
    lost: set[str] = field(default_factory=set)
    """Sites that will not hear of what happens here, whatever heals."""
    noted: dict[str, str] = field(default_factory=dict)
    """What a test prepared before anything went wrong, by name."""

    # ── The user ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def site(self) -> Site:
        return self.world.running[self.here]

    def api(self, name: str = "") -> Api:
        """A site's API, for one request at once: the next call of this may turn it to another site."""
        site = self.world.running[name or self.here]
        services = services_of(site)
        vars(_turned).update({f.name: getattr(services, f.name) for f in fields(services)})
        return Api(site, services, _app())

    async def ask(
        self, method: str, path: str, body: Any = None, *, wait: float = 0.0, token: str | None = None
    ) -> httpx.Response:
        """A request of the operator's at `here`, or of whoever holds `token`."""
        headers = {"If_Match": "*"} if method in ("PUT", "DELETE") and "/vpns/" in path else {}
        if wait:
            headers["Prefer"] = f"wait={wait:g}"
        return await self.api().call(method, path, body, token, **headers)

    async def touch(self) -> None:
        """What the backup will not have: another version of the Vpn, and a host."""
        world = self.world
        self.backup = world.disks[self.here].backup()
        if self.stands:
            members = [attachment(f"{a['site']}:{a.get('network', '')}") for a in self.members()]
            await world.running[HOME].vpns.update(OPERATOR, self.stretch, "", members, "*", 5.0)
        await world.running[self.here].networks.create_host(OPERATOR, "late", "spare")
        await world.until(lambda: len(world.systems[self.here].hosts) >= 2)
        await world.until(lambda: not self.stands or self.is_ready())

    @property
    def stands(self) -> bool:
        """Whether there is the Vpn."""
        return any(self.remotes(self.stretch).values())

    def is_ready(self) -> bool:
        """Whether every site that hears of it shows the Vpn ready."""
        shown = [
            {v.id: v.phase.value for v in self.world.running[s].vpns.all(OPERATOR)}
            for s in self.sites
            if s not in self.lost
        ]
        return all(phases.get(self.stretch) == "ready" for phases in shown)

    def others(self) -> list[str]:
        return [s for s in self.sites if s != self.here]

    def members(self, *without: str) -> list[dict[str, str]]:
        """All of stretch's, for an update."""
        found = wish("", "l2", "nantes:blue", *(s for s in self.sites if s not in ("nantes", *without)))
        members: list[dict[str, str]] = found["attachments"]
        return members

    # ── The world ──────────────────────────────────────────────────────────────────────────────────────────

    def reachable(self) -> list[str]:
        """Sites whose agents this one's can call, itself first."""
        world = self.world
        there = [s for s in self.hearers() if s in world.running and world.reaches(self.here, s)]
        return [self.here, *there]

    def hearers(self) -> list[str]:
        """The other sites, but for those that hear nothing from here any more."""
        return [s for s in self.others() if s not in self.lost]

    def vpn(self, site: str, name: str) -> Any:
        """The Vpn of that name as a site shows it; None if it shows none."""
        return next((v for v in self.world.running[site].vpns.all(OPERATOR) if v.name == name), None)

    def phase(self, site: str, name: str) -> str:
        found = self.vpn(site, name)
        return found.phase.value if found is not None else "none"

    def joined(self, name: str, sites: list[str]) -> bool:
        """Whether segments of a Vpn let packets cross between every two of these sites, both ways."""
        seen = self.vpn(self.here, name)
        id = seen.id if seen is not None else self.noted.get(name, "")
        return all(self.world.underlay.crosses(id, a, b) for a in sites for b in sites if a != b)

    def remotes(self, vpn: str) -> dict[str, list[tuple[int, list[str]]]]:
        """What every data plane holds of a Vpn: its number, and to whom it forwards."""
        return {
            site: [(s.vni, sorted(r.site or "" for r in s.remotes)) for s in held.values() if s.vpn == vpn]
            for site, held in self.world.underlay.segments.items()
        }

    def picture(self) -> Picture:
        """All that clouds and data planes hold."""
        found: Picture = {}
        for site, system in self.world.systems.items():
            bridges = sorted(b.network.name for b in system.bridges.values() if b.network is not None)
            hosts = sorted(h.name for h in system.hosts.values())
            held = self.world.underlay.segments.get(site, {}).values()
            segments = sorted((s.vpn, s.vni, sorted(r.site or "" for r in s.remotes)) for s in held)
            found[site] = {"networks": bridges, "hosts": hosts, "segments": segments}
        return found

    async def within(self, seconds: float, condition: Callable[[], bool]) -> bool:
        """Let virtual time pass until the condition holds; False if it does not in that time."""
        end = asyncio.get_running_loop().time() + seconds
        while not condition():
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(0.1)
        return True


Prepare = Callable[[Lab], Awaitable[None]]


async def nothing(lab: Lab) -> None:
    return None


@asynccontextmanager
async def scene(here: str, sites: tuple[str, ...] = THREE, prepare: Prepare = nothing) -> AsyncIterator[Lab]:
    """The scene, all well: stretch is ready everywhere, and what `prepare` makes is made."""
    world = World()
    lab = Lab(world, here, sites)
    try:
        for name in sites:
            await world.site(name)
        await world.enrol(*sites)
        await world.net("nantes", "blue", "10.0.0.0/24")
        for n, name in enumerate(sites):
            await world.net(name, "db", f"10.{n + 1}.0.0/24")
        await world.net(here, "spare", "10.9.0.0/24")
        lab.stretch = await world.vpn("nantes", "stretch", "l2", "nantes:blue", *sites[1:])
        await world.until(lambda: all(world.phase(s, lab.stretch) == "ready" for s in sites))
        await world.running[here].networks.create_host(OPERATOR, "web", "db")
        await prepare(lab)
        await lab.touch()
        yield lab
    finally:
        await world.close()
