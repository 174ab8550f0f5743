"""Numbers are given once, whatever a site has forgotten."""

from __future__ import annotations

from intertie.testing.federation import World
from tests.federation.test_life import body_at, scenario


def test_a_vni_that_an_orphan_carries_is_not_given_again() -> None:
    async def story(world: World) -> None:
        await world.net("nantes", "blue", "10.0.0.0/24")
        await world.crash("lyon")
        await world.vpn("nantes", "first", "l2", "nantes:blue", "lyon", wait=0)
        await world.until(lambda: bool(world.running["nantes"].segments()))
        (orphan,) = world.running["nantes"].segments()
        # Nobody else has heard of it when its home loses all memory of it.
        await world.crash("nantes")
        world.disks["nantes"].lose()
        await world.start("lyon")
        nantes = await world.start("nantes")
        await world.until(lambda: not nantes.agent.recovering)
        await world.net("nantes", "red", "10.1.0.0/24")
        again = await world.vpn("nantes", "second", "l2", "nantes:red", "rennes")
        assert body_at(world, "nantes", again).vni != orphan.vni
        assert orphan in nantes.segments(), "nothing tells that it ended"

    scenario(story)
