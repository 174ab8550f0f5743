"""PUT with the whole list does it, in any order: names, several members at once, and removals taken back, while
somebody is away. Whoever returns ends where the home is; nobody who stays loses a packet's way meanwhile."""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest

from intertie.model.errors import Conflict
from intertie.testing.federation import OPERATOR, World, attachment
from tests.federation.test_life import everywhere, l2, networks, scenario

FIVE = ("nantes", "lyon", "rennes", "nice", "brest")


async def change(world: World, id: str, *members: str, name: str = "", wait: float = 0.0) -> None:
    wanted = [attachment(a) for a in members]
    await world.running["nantes"].vpns.update(OPERATOR, id, name, wanted, "*", wait)


def remotes(world: World, site: str, id: str) -> set[str]:
    return {r.site for s in world.running[site].segments() if s.vpn == id for r in s.remotes}


def members(world: World, site: str, id: str) -> list[str]:
    return sorted(m.site for m in world.running[site].vpns.get(OPERATOR, id).members)


def meshed(world: World, id: str, *sites: str) -> bool:
    """Whether these sites, and nobody else, exchange packets."""
    inside = all(remotes(world, s, id) == set(sites) - {s} for s in sites)
    return inside and not any(remotes(world, s, id) for s in set(world.running) - set(sites))


def disjoint(world: World, id: str) -> bool:
    held = [
        (r.first.version, int(r.first), int(r.last))
        for m in world.running["nantes"].vpns.get(OPERATOR, id).members
        for r in m.ranges
    ]
    return all(v != w or b < c or d < a for i, (v, a, b) in enumerate(held) for w, c, d in held[i + 1 :])


def test_a_rename_while_a_member_is_away_reaches_it_and_frees_the_old_name() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        world.isolate("rennes")
        await change(world, id, "nantes:blue", "lyon", "rennes", name="wide")
        await world.until(lambda: world.running["lyon"].vpns.get(OPERATOR, id).name == "wide")
        assert world.running["rennes"].vpns.get(OPERATOR, id).name == "stretch", "it has not heard of it"
        assert remotes(world, "rennes", id) == {"nantes", "lyon"}, "and forwards on"
        await world.net("nantes", "green", "10.9.0.0/24")
        again = await world.vpn("nantes", "stretch", "l2", "nantes:green", "lyon")
        with pytest.raises(Conflict) as taken:
            await change(world, id, "nantes:blue", "lyon", "rennes", name="stretch")
        assert taken.value.code == "name-taken"
        world.heal()
        await world.until(lambda: world.running["rennes"].vpns.get(OPERATOR, id).name == "wide")
        assert world.running["lyon"].vpns.get(OPERATOR, "stretch").id == again
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "lyon", "rennes")))

    scenario(story)


def test_several_come_and_go_at_once_while_one_of_each_is_silent() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon", "rennes")
        await world.until(lambda: meshed(world, id, "nantes", "lyon", "rennes"))
        for away in ("rennes", "brest"):
            world.isolate(away)
        await change(world, id, "nantes:blue", "lyon", "nice", "brest")
        # Who can be asked is in at once; who cannot is waited for, and forwards what it forwarded.
        await world.until(lambda: {"lyon", "nice"} <= remotes(world, "nantes", id))
        assert remotes(world, "rennes", id) == {"nantes", "lyon"}
        assert "rennes" in members(world, "nantes", id), "it has not let go yet"
        world.heal()
        await world.until(lambda: meshed(world, id, "nantes", "lyon", "nice", "brest"))
        await world.until(lambda: networks(world, "rennes") == set())
        await world.until(lambda: members(world, "brest", id) == ["brest", "lyon", "nantes", "nice"])
        await world.until(lambda: disjoint(world, id))

    scenario(story, FIVE)


def test_a_removal_that_a_silent_member_has_not_heard_is_taken_back_and_it_loses_nothing() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon", "rennes")
        await world.until(everywhere(world, id))
        before = world.running["rennes"].vpns.get(OPERATOR, id).members[2].ranges
        world.isolate("rennes")
        await change(world, id, "nantes:blue", "lyon")
        await asyncio.sleep(20)
        await change(world, id, "nantes:blue", "lyon", "rennes")
        world.heal()
        await world.until(everywhere(world, id))
        after = world.running["rennes"].vpns.get(OPERATOR, id).members[2]
        assert (after.ranges, after.leaving) == (before, False)

    scenario(story)


def test_a_removal_that_waits_for_a_port_is_taken_back() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon", "rennes")
        await world.until(everywhere(world, id))
        lyon = world.running["lyon"]
        await lyon.networks.create_host(OPERATOR, "app", "blue")
        await world.until(lambda: bool(world.systems["lyon"].hosts))
        await change(world, id, "nantes:blue", "rennes")
        await world.until(lambda: lyon.vpns.get(OPERATOR, id).members[1].answer == "held")
        with pytest.raises(Conflict):
            await lyon.networks.create_host(OPERATOR, "late", "blue")
        await change(world, id, "nantes:blue", "lyon", "rennes")
        await world.until(lambda: lyon.vpns.get(OPERATOR, id).members[1].answer == "accepted")
        await world.until(everywhere(world, id))
        await lyon.networks.create_host(OPERATOR, "late", "blue")
        assert meshed(world, id, "nantes", "lyon", "rennes")

    scenario(story)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_changes_in_any_order_end_where_the_last_one_says(order: tuple[int, ...]) -> None:
    """Each while another member is away: out, in, out again; the whole list of the last is what comes about."""
    lists = (
        ("nantes:blue", "lyon", "nice"),
        ("nantes:blue", "rennes", "brest"),
        ("nantes:blue", "lyon", "rennes", "nice", "brest"),
    )

    async def story(world: World) -> None:
        id = await l2(world, "lyon", "rennes")
        await world.until(lambda: meshed(world, id, "nantes", "lyon", "rennes"))
        for n, away in zip(order, ("rennes", "lyon", "nice"), strict=True):
            world.isolate(away)
            await change(world, id, *lists[n])
            await asyncio.sleep(7)
            world.heal()
        wanted = {a.partition(":")[0] for a in lists[order[-1]]}
        await world.until(lambda: members(world, "nantes", id) == sorted(wanted), 300)
        await world.until(lambda: meshed(world, id, *wanted), 300)
        await world.until(lambda: disjoint(world, id))
        assert all(networks(world, s) == set() for s in set(FIVE) - wanted), "who left has nothing of it"

    scenario(story, FIVE)


def test_an_end_is_taken_back_by_the_whole_list_though_somebody_heard_of_it_and_another_did_not() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon", "rennes")
        await world.until(everywhere(world, id))
        world.isolate("rennes")
        await world.running["nantes"].vpns.delete(OPERATOR, id)
        await world.until(lambda: world.phase("lyon", id) == "deleting")
        await change(world, id, "nantes:blue", "lyon", "rennes", name="kept")
        world.heal()
        await world.until(lambda: world.running["rennes"].vpns.get(OPERATOR, id).name == "kept")
        await world.until(everywhere(world, id))

    scenario(story)
