"""Where a pair is broken, as `vpn verify` tells it."""

from __future__ import annotations

from intertie.model.views import Verified
from intertie.testing.federation import OPERATOR, World
from tests.federation.test_life import everywhere, l2, scenario


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
