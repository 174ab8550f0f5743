"""A member that runs out of addresses gets more from the others by itself (federation rules 15 and 16)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from intertie.model.bodies import Address, AnswerBody, Word
from intertie.model.errors import Conflict
from intertie.planning import ranges
from intertie.planning.identity import answer_id
from intertie.testing.federation import OPERATOR, World
from tests.federation.test_found import held
from tests.federation.test_life import SITES, scenario

HOSTS = 11
"""That fit into the whole /28: 14 usable addresses, of which three are gateways."""


async def blue(world: World, *prefixes: str, sites: Sequence[str] = SITES) -> str:
    """A small network of nantes, stretched to `sites`."""
    await world.net("nantes", "blue", *prefixes)
    first, *others = sites
    id = await world.vpn(first, "stretch", "l2", f"{first}:blue", *others)
    await world.until(lambda: all(world.phase(s, id) == "ready" for s in sites))
    return id


async def host(world: World, site: str) -> Sequence[Address] | None:
    """One more host; None if the site has no address for it."""
    name = f"h{len(world.running[site].networks.hosts(OPERATOR))}-{site}"
    try:
        return (await world.running[site].networks.create_host(OPERATOR, name, "blue")).addresses
    except Conflict as refused:
        if refused.code != "quota":
            raise
        return None


async def fill(world: World, site: str, most: int, seconds: float = 60.0) -> int:
    """Hosts at one site, as many as it finds addresses for within `seconds` without a new one; how many."""
    loop = asyncio.get_running_loop()
    made, last = 0, loop.time()
    while made < most and loop.time() - last < seconds:
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
        initial = len(word(world, "lyon", id).ranges)
        assert initial
        made = await fill(world, "lyon", usable)
        assert made >= usable - 3 - 2, "three gateways, and one address that each of the others keeps"
        assert nobody_twice(world, id, prefix) == usable

    scenario(story)
