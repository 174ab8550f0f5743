"""Where a pair is broken, as `vpn verify` tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from intertie.model.bodies import Prefix, TransportFacts
from intertie.model.views import Verified, VpnView
from intertie.testing.federation import OPERATOR, Site, World
from tests.federation.test_life import everywhere, l2, l3, scenario


def broken_between(found: Verified, a: str, b: str) -> set[str]:
    return {p.broken_at for p in found.pairs if {p.from_.site, p.to.site} == {a, b}}


def test_who_is_seen_by_a_third_site_has_an_agent_so_the_link_is_broken() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        world.cut("nantes", "lyon")
        await world.until(lambda: world.running["nantes"].agent.peer("lyon").failures > 2)
        found = await world.running["nantes"].vpns.verify(OPERATOR, id)
        assert broken_between(found, "nantes", "lyon") == {"link"}

    scenario(story)


def test_who_is_seen_by_nobody_may_have_no_agent() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await world.crash("lyon")
        await world.until(lambda: world.running["nantes"].agent.peer("lyon").failures > 5)
        found = await world.running["nantes"].vpns.verify(OPERATOR, id)
        assert "agent" in broken_between(found, "nantes", "lyon")

    scenario(story)


def view(site: Site, id: str) -> VpnView:
    record = site.agent.table.get(id)
    assert record is not None
    return site.vpns.view(record)


def test_what_no_probe_crosses_is_ready_when_all_have_made_it_and_is_not_called_down() -> None:
    async def story(world: World) -> None:
        world.transports = (TransportFacts(name="bgpvpn", ok=True, l2=True, l3=True, underlay_mtu=1442),)
        nantes = world.running["nantes"]
        await world.until(
            lambda: all(s.agent.inventory.transports == world.transports for s in world.running.values())
        )
        world.days["lyon"].failing = 10_000
        id = await l2(world)
        await world.until(lambda: "lyon" in view(nantes, id).reason)
        assert world.phase("nantes", id) != "ready"
        world.days["lyon"].clear()
        await world.until(everywhere(world, id))
        await asyncio.sleep(60.0)
        seen = view(nantes, id)
        assert seen.phase == "ready"
        assert seen.reason.startswith("not measured: no probe crosses bgpvpn")
        assert {p.health for p in seen.pairs} == {"unknown"}
        found = await nantes.vpns.verify(OPERATOR, id)
        assert not found.ok
        assert {p.broken_at for p in found.pairs} == {"unknown"}
        assert {p.hint for p in found.pairs} == {
            "no probe crosses bgpvpn: it has no port of ours here; ping between two machines"
        }

    scenario(story)


class Guarded:
    """A cloud whose machines let nobody in."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def kept_out(self, network: str, prefixes: Collection[Prefix]) -> str:
        self.asked.append((network, tuple(map(str, prefixes))))
        return "2 machines let nothing in"


def test_machines_that_are_closed_are_told_of_where_the_segment_is_open() -> None:
    async def story(world: World) -> None:
        guards = Guarded()
        id = await l3(world)
        await world.until(everywhere(world, id))
        await world.crash("nantes")
        world.guards["nantes"] = guards
        nantes = await world.start("nantes")
        await world.until(everywhere(world, id))
        found = await nantes.vpns.verify(OPERATOR, id)
        mine = [p for p in found.pairs if p.from_.site == "nantes"]
        assert {(p.ok, p.hint) for p in mine} == {(True, "2 machines let nothing in")}
        assert sorted(prefixes for _, prefixes in guards.asked) == [("10.2.0.0/24",), ("10.3.0.0/24",)]
        assert found.ok

    scenario(story)
