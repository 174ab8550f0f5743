"""A later version takes over the store of an earlier one, which left out what it could not read."""

from __future__ import annotations

import asyncio

from intertie.agent.recovery import upgraded
from intertie.model.storage import Batch
from intertie.testing.federation import World
from tests.federation.test_life import scenario


def test_what_an_earlier_version_could_not_read_is_read_by_the_later_one() -> None:
    async def story(world: World) -> None:
        await world.net("nantes", "blue", "10.0.0.0/24")
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
        await asyncio.sleep(60.0)  # all is said
        lyon = world.running["lyon"]
        # As a version leaves a record of a kind that it does not know: absent, and the reading has passed it.
        await lyon.agent.ports.store.commit(Batch(dropped=(id,)), lyon.agent._seal)
        await world.crash("lyon")
        lyon = await world.start("lyon")
        await upgraded(lyon.agent, "0")
        await asyncio.sleep(60.0)
        assert lyon.agent.table.get(id) is None, "the same version has no reason to read again"
        await upgraded(lyon.agent, "an earlier one")
        await world.until(lambda: lyon.agent.table.get(id) is not None)
        noted = lyon.agent.local
        await world.crash("lyon")
        lyon = await world.start("lyon")
        assert lyon.agent.local["version"] == noted["version"]
        cursors = dict(lyon.agent.cursors)
        await upgraded(lyon.agent, "an earlier one")
        assert lyon.agent.cursors == cursors, "once is enough"

    scenario(story, ("nantes", "lyon"))
