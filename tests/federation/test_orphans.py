"""Rule 19: what no record explains is shown and kept, until somebody takes it up again or collects it."""

from __future__ import annotations

import asyncio

import pytest

from intertie.agent.access import Caller, Role
from intertie.agent.orphans import Orphans
from intertie.model.errors import Conflict, Forbidden, Refused
from intertie.model.items import Host
from intertie.testing.federation import OPERATOR, Site, World
from tests.federation.test_life import everywhere, is_there, l2, networks, scenario


async def lost(world: World, name: str, *, alone: bool = False) -> Site:
    """The site starts without its database; `alone`: and reaches nobody."""
    await world.crash(name)
    world.disks[name].lose()
    if alone:
        world.isolate(name)
    site = await world.start(name)
    if not alone:
        await world.until(lambda: not site.agent.recovering)
        await asyncio.sleep(10)
    return site


def told(lines: object) -> list[str]:
    assert isinstance(lines, tuple)
    return sorted(line.text.split(" mtu")[0].split(": ")[0] for line in lines)


async def with_a_host(world: World) -> None:
    await world.net("nantes", "blue", "10.0.0.0/24")
    await world.until(is_there(world, "nantes", "blue"))
    await world.running["nantes"].networks.create_host(OPERATOR, "web", "blue")
    await world.until(lambda: len(world.systems["nantes"].hosts) == 1)


def test_a_network_that_was_orphaned_is_taken_up_under_its_name_with_its_hosts() -> None:
    async def story(world: World) -> None:
        await with_a_host(world)
        before = (set(world.systems["nantes"].bridges), dict(world.systems["nantes"].hosts))
        writes = world.systems["nantes"].writes
        nantes = await lost(world, "nantes")
        with pytest.raises(Refused) as refused:
            await nantes.networks.delete(OPERATOR, "blue")
        assert "intertie network create blue 10.0.0.0/24" in refused.value.hint
        with pytest.raises(Conflict) as other:
            await world.net("nantes", "blue", "10.7.0.0/24")
        assert "takes it up again" in other.value.hint
        assert {type(i).__name__ for i in nantes.rounds.orphans} == {"Network", "Host"}
        await world.net("nantes", "blue", "10.0.0.0/24")
        await world.until(lambda: nantes.rounds.orphans == ())
        assert [h.name for h in nantes.networks.hosts(OPERATOR)] == ["web"]
        assert (set(world.systems["nantes"].bridges), dict(world.systems["nantes"].hosts)) == before
        assert world.systems["nantes"].writes == writes, "what stood there is what is wanted"
        await nantes.networks.delete_host(OPERATOR, "web")
        await world.until(lambda: not world.systems["nantes"].hosts)
        await nantes.networks.delete(OPERATOR, "blue")
        assert networks(world, "nantes") == set()

    scenario(story)


def test_what_is_collected_is_shown_first_and_nothing_in_use_goes_without_force() -> None:
    async def story(world: World) -> None:
        await with_a_host(world)
        await world.net("nantes", "idle", "10.5.0.0/24")
        await world.until(is_there(world, "nantes", "idle"))
        nantes = await lost(world, "nantes")
        orphans = Orphans(nantes.rounds)
        plan = await orphans.plan(OPERATOR)
        assert told(plan.changes) == ["- network idle prefix 10.5.0.0/24"]
        assert [line.text.partition(": ")[2] for line in plan.kept] == [
            "it is a host, and may be running something",
            "1 port in use on it",
        ]
        assert networks(world, "nantes") == {"blue", "idle"}, "a plan changes nothing"
        done = await orphans.collect(OPERATOR, base=plan.base_version)
        assert told(done.changes) == told(plan.changes)
        assert networks(world, "nantes") == {"blue"}
        with pytest.raises(Conflict) as stale:
            await orphans.collect(OPERATOR, force=True, base=plan.base_version)
        assert stale.value.code == "stale"
        bridge = next(b for b in world.systems["nantes"].bridges.values() if b.network is not None)
        assert bridge.network is not None
        world.systems["nantes"].occupy(bridge.network.bridge, "vm7")
        left = await orphans.collect(OPERATOR, force=True)
        assert [line.text.partition(": ")[2] for line in left.kept] == ["1 port in use on it"]
        assert not world.systems["nantes"].hosts, "force takes hosts of ours, and never what others' ports are on"
        world.systems["nantes"].vacate(bridge.network.bridge, "vm7")
        await orphans.collect(OPERATOR)
        assert networks(world, "nantes") == set()
        assert nantes.rounds.orphans == ()

    scenario(story)


def test_who_has_not_heard_its_peers_keeps_what_they_may_explain() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        lyon = await lost(world, "lyon", alone=True)
        orphans = Orphans(lyon.rounds)
        before = lyon.segments()
        done = await orphans.collect(OPERATOR)
        assert not [line for line in done.changes if line.what == "segment"]
        assert any("may still tell what it is" in line.text for line in done.kept)
        assert lyon.segments() == before, "what forwards is not given up on a guess"
        world.heal()
        await world.until(lambda: lyon.rounds.orphans == ())
        await world.until(everywhere(world, id))
        nothing = await orphans.plan(OPERATOR)
        assert nothing.changes == nothing.kept == ()

    scenario(story)


def test_a_host_of_a_name_that_is_taken_stays_an_orphan() -> None:
    async def story(world: World) -> None:
        await with_a_host(world)
        nantes = await lost(world, "nantes")
        await world.net("nantes", "other", "10.6.0.0/24")
        await world.until(lambda: any(n.name == "other" for n in nantes.agent.inventory.networks))
        await nantes.networks.create_host(OPERATOR, "web", "other")
        await world.net("nantes", "blue", "10.0.0.0/24")
        await world.until(lambda: len(nantes.rounds.orphans) == 1)
        assert isinstance(nantes.rounds.orphans[0], Host)

    scenario(story)


def test_only_an_admin_collects() -> None:
    async def story(world: World) -> None:
        member = Caller(project="demo", role=Role.MEMBER)
        with pytest.raises(Forbidden):
            await Orphans(world.running["nantes"].rounds).plan(member)
        with pytest.raises(Forbidden):
            await Orphans(world.running["nantes"].rounds).collect(member)

    scenario(story, ("nantes",))
