"""A member that runs out of addresses gets more from the others by itself (federation rules 15 and 16)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from intertie.model.bodies import Address, AnswerBody, Word
from intertie.model.errors import Conflict
from intertie.model.storage import StorageError
from intertie.planning import ranges
from intertie.planning.identity import answer_id
from intertie.testing.federation import OPERATOR, Armed, World, attachment
from tests.federation.test_found import held
from tests.federation.test_life import SITES, scenario

PREFIX = "10.1.0.0/28"
"""14 usable addresses, of which three are gateways and two are kept by those who give."""
HOSTS = 9


async def blue(world: World, *prefixes: str, sites: Sequence[str] = SITES) -> str:
    """A small network of nantes, stretched to `sites`."""
    await world.net("nantes", "blue", *prefixes)
    first, *others = sites
    id = await world.vpn(first, "stretch", "l2", f"{first}:blue", *others)
    await world.until(lambda: all(world.phase(s, id) == "ready" for s in sites))
    return id


async def host(world: World, site: str) -> Sequence[Address] | None:
    """One more host; None if the site has no address for it, or dies."""
    name = f"h{len(world.running[site].networks.hosts(OPERATOR))}-{site}"
    try:
        return (await world.running[site].networks.create_host(OPERATOR, name, "blue")).addresses
    except Conflict as refused:
        if refused.code != "quota":
            raise
        return None
    except StorageError:
        return None


async def fill(world: World, site: str, most: int, seconds: float = 60.0) -> int:
    """Hosts at one site, as many as it finds addresses for within `seconds` without a new one; how many."""
    loop = asyncio.get_running_loop()
    made, last = 0, loop.time()
    while made < most and site in world.running and loop.time() - last < seconds:
        if await host(world, site) is not None:
            made, last = made + 1, loop.time()
        else:
            await asyncio.sleep(0.5)
    return made


def word(world: World, site: str, id: str) -> AnswerBody:
    record = held(world, site, answer_id(site, id))
    assert record is not None
    assert isinstance(record.body, AnswerBody)
    return record.body


def nobody_twice(world: World, id: str, prefix: str) -> int:
    """No address is held by two sites' own words, nor had by two hosts; how many are held or on their way."""
    network = ip_network(prefix)
    taken: ranges.Spans = ()
    for site in SITES:
        record = held(world, site, answer_id(site, id))
        if record is None or not record.live or not isinstance(record.body, AnswerBody):
            continue
        if record.body.word not in (Word.ACCEPTED, Word.HELD):
            continue
        mine = ranges.spans_of(record.body.ranges, network)
        assert ranges.subtract(taken, mine) == taken, f"{site} holds what another one holds"
        taken = ranges.union([*taken, *mine])
    hosts = [a for s in world.running for h in world.running[s].networks.hosts(OPERATOR) for a in h.addresses]
    assert len(hosts) == len(set(hosts))
    return ranges.size(taken)


@pytest.mark.parametrize("prefix", ["10.1.0.0/28", "fd00:1::/124"])
def test_hosts_go_on_getting_addresses_at_one_site_until_the_others_keep_one_each(prefix: str) -> None:
    async def story(world: World) -> None:
        id = await blue(world, prefix)
        usable = ranges.size((ranges.usable(ip_network(prefix)),))
        made = await fill(world, "lyon", usable)
        assert made >= usable - 3 - 2, "three gateways, and one address that each of the others keeps"
        assert nobody_twice(world, id, prefix) == usable

    scenario(story)


def test_a_partition_in_the_middle_neither_loses_nor_doubles_an_address() -> None:
    """Every 0.7 s another pair of sites cannot hear each other, one way or both, while hosts are made at lyon."""

    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        cuts = [
            ("nantes", "lyon", True),
            ("lyon", "rennes", False),
            ("rennes", "lyon", False),
            ("nantes", "lyon", False),
        ]
        made = 0
        for a, b, back in cuts:
            world.cut(a, b, back)
            made += await fill(world, "lyon", HOSTS - made, seconds=20.0)
            nobody_twice(world, id, PREFIX)
            world.heal()
            await asyncio.sleep(0.7)
        made += await fill(world, "lyon", HOSTS - made)
        assert made == HOSTS
        assert nobody_twice(world, id, PREFIX) == 14

    scenario(story)


@pytest.mark.parametrize("point", ["before-write", "after-write", "before-send", "after-send", "before-reply"])
@pytest.mark.parametrize("victim", ["lyon", "nantes", "rennes"])
def test_who_dies_at_any_step_of_a_gift_neither_loses_nor_doubles_it(victim: str, point: str) -> None:
    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        made = 0
        for times in (1, 2, 3):
            world.armed[victim] = Armed(point, times)
            made += await fill(world, "lyon", min(3, HOSTS - made), seconds=3.0)
            await asyncio.sleep(1.0)
            world.armed.pop(victim, None)
            if victim not in world.running:
                await world.start(victim)
            nobody_twice(world, id, PREFIX)
        await fill(world, "lyon", HOSTS)
        assert len(world.running["lyon"].networks.hosts(OPERATOR)) == HOSTS
        assert nobody_twice(world, id, PREFIX) == 14

    scenario(story)


def test_the_home_need_not_be_there() -> None:
    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        await world.crash("nantes")
        assert await fill(world, "lyon", HOSTS, seconds=90.0) > 4, "more than its share has"
        await world.start("nantes")
        await asyncio.sleep(15.0)
        nobody_twice(world, id, PREFIX)

    scenario(story)


def test_who_adopts_without_having_seen_a_gift_gives_nothing_of_it_again() -> None:
    """lyon runs out and is given some by nantes; rennes has seen none of that when it adopts the Vpn."""

    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        world.isolate("rennes")
        made = await fill(world, "lyon", HOSTS, seconds=40.0)
        assert made > 4
        left = word(world, "rennes", id).free[0]
        await world.running["rennes"].vpns.adopt(OPERATOR, id, "*")
        assert await fill(world, "rennes", HOSTS, seconds=20.0) == left, "what it holds itself"
        nobody_twice(world, id, PREFIX)
        world.heal()
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in SITES))
        for site in SITES:
            await fill(world, site, 1, seconds=15.0)
        assert nobody_twice(world, id, PREFIX) == 14

    scenario(story)


def test_who_leaves_brings_back_what_it_got_and_not_what_it_gave() -> None:
    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        # rennes gives some of its share to lyon, and gets some of lyon's back when it needs it.
        await fill(world, "lyon", 6)
        assert word(world, "rennes", id).ledger.given
        vpns = world.running["nantes"].vpns
        await vpns.update(OPERATOR, id, "", (attachment("nantes:blue"), attachment("lyon")), "*")
        await world.until(lambda: len(vpns.get(OPERATOR, id).members) == 2)
        await asyncio.sleep(5.0)
        assert nobody_twice(world, id, PREFIX) == 14
        assert await fill(world, "lyon", HOSTS - 6 + 2) >= 4

    scenario(story)


def test_a_member_that_was_removed_before_it_heard_of_a_gift_leaves_it_to_the_giver() -> None:
    """The gift is on its way when lyon, to which nobody speaks but the home, lets go of the Vpn."""

    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        world.cut("rennes", "lyon", back=False)
        while not word(world, "rennes", id).ledger.gifts:
            if await host(world, "lyon") is None:
                await asyncio.sleep(0.5)
            world.cut("nantes", "lyon", back=False)
            await asyncio.sleep(0.2)
            world.mend("nantes", "lyon")
        for each in world.running["lyon"].networks.hosts(OPERATOR):
            await world.running["lyon"].networks.delete_host(OPERATOR, each.id)
        vpns = world.running["nantes"].vpns
        await vpns.update(OPERATOR, id, "", (attachment("nantes:blue"), attachment("rennes")), "*")
        await world.until(lambda: len(vpns.get(OPERATOR, id).members) == 2)
        world.heal()
        await world.until(lambda: not word(world, "rennes", id).ledger.gifts)
        assert nobody_twice(world, id, PREFIX) == 14

    scenario(story)


def test_what_a_forgotten_member_held_waits_until_everybody_has_forgotten_it() -> None:
    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        await fill(world, "lyon", 5)
        held_by_rennes = len(word(world, "rennes", id).ranges)
        assert held_by_rennes
        await world.crash("rennes")
        nantes, lyon = world.running["nantes"], world.running["lyon"]
        await nantes.vpns.update(OPERATOR, id, "", (attachment("nantes:blue"), attachment("lyon")), "*")
        await nantes.enrolment.forget("rennes")
        await world.until(lambda: len(nantes.vpns.get(OPERATOR, id).members) == 2)
        await asyncio.sleep(20.0)
        alive = ranges.count(word(world, "nantes", id).ranges) + ranges.count(word(world, "lyon", id).ranges)
        assert alive < 14, "lyon may have got some of it"
        await lyon.enrolment.forget("rennes")
        await world.until(lambda: not word(world, "nantes", id).ledger.awaited)
        both = [ranges.count(word(world, s, id).ranges) for s in ("nantes", "lyon")]
        assert sum(both) == 14

    scenario(story)


def test_a_quiet_federation_says_nothing_about_addresses() -> None:
    async def story(world: World) -> None:
        id = await blue(world, PREFIX)
        await fill(world, "lyon", HOSTS)
        await asyncio.sleep(10.0)
        before = {s: held(world, s, answer_id(s, id)) for s in SITES}
        await asyncio.sleep(300.0)
        assert {s: held(world, s, answer_id(s, id)) for s in SITES} == before

    scenario(story)


def test_a_host_that_finds_no_address_is_told_who_has_none() -> None:
    async def story(world: World) -> None:
        await blue(world, PREFIX)
        await fill(world, "lyon", HOSTS)
        with pytest.raises(Conflict) as refused:
            await world.running["lyon"].networks.create_host(OPERATOR, "more", "blue")
        assert refused.value.code == "quota"
        assert refused.value.detail == (
            "lyon has no address left in 10.1.0.0/28; nantes keeps its last one; rennes keeps its last one"
        )
        assert "larger" in refused.value.hint

    scenario(story)
