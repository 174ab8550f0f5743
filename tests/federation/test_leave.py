"""The way out: a site leaves, its peers hear of it and forget it, and what is its own stays."""

from __future__ import annotations

import asyncio

import pytest

from intertie.model.errors import Conflict
from intertie.planning import trust
from intertie.planning.enrol import goodbye
from intertie.testing.federation import OPERATOR, World, attachment
from tests.federation.test_life import everywhere, l2, scenario


def states(world: World, site: str) -> dict[str, str]:
    return {peer.name: peer.state for peer in world.running[site].enrolment.peers()}


def knows_nobody(world: World, site: str) -> bool:
    return not world.running[site].agent.pins()


def test_peers_are_told_and_forget_the_site() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon")
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "lyon")))
        before = world.running["nantes"].segments()
        await world.running["rennes"].enrolment.leave()
        assert knows_nobody(world, "rennes")
        await world.until(lambda: all(states(world, s)["rennes"] == "forgotten" for s in ("nantes", "lyon")), 5.0)
        assert world.running["nantes"].segments() == before
        await asyncio.sleep(60.0)
        assert trust.site_body(world.running["rennes"].agent.table, "rennes") is not None, "alone, it is a site again"
        assert states(world, "nantes") == {"lyon": "up", "rennes": "forgotten"}

    scenario(story)


def test_a_member_gets_out_of_the_vpns_of_others_first() -> None:
    """It asks their homes itself; once it has drained nothing binds it, and nothing of them is left at it."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        rennes = world.running["rennes"]
        host = await rennes.networks.create_host(OPERATOR, "app", "blue")
        with pytest.raises(Conflict, match="rennes is a member of stretch"):
            await rennes.enrolment.leave()
        stay = [attachment("nantes:blue"), attachment("lyon")]
        await rennes.vpns.update(OPERATOR, id, "stretch", stay, "*", 5.0)
        with pytest.raises(Conflict):
            await rennes.enrolment.leave()
        await rennes.networks.delete_host(OPERATOR, host.id)
        await world.until(lambda: all(view.id != id for view in rennes.vpns.all(OPERATOR)))
        await rennes.enrolment.leave()
        await world.until(lambda: not rennes.segments())
        assert states(world, "nantes")["rennes"] == "forgotten"
        assert world.phase("nantes", id) == "ready"

    scenario(story)


def test_nobody_waits_for_a_peer_that_is_silent() -> None:
    async def story(world: World) -> None:
        world.isolate("lyon")
        await world.until(lambda: states(world, "rennes")["lyon"] == "silent")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await world.running["rennes"].enrolment.leave()
        assert loop.time() - begun < 5.0
        assert knows_nobody(world, "rennes")
        world.heal()
        await asyncio.sleep(60.0)
        assert states(world, "lyon") == {"nantes": "up", "rennes": "silent"}, "its operator forgets it"

    scenario(story)


def test_one_that_dies_while_it_says_goodbye_can_say_it_again() -> None:
    async def story(world: World) -> None:
        await world.running["rennes"].agent.write(lambda s: goodbye(s.table))
        await world.crash("rennes")
        await world.start("rennes")
        await world.until(lambda: states(world, "nantes")["rennes"] == "forgotten")
        await world.running["rennes"].enrolment.leave()
        assert knows_nobody(world, "rennes")

    scenario(story)
