"""What every cloud driver must do, as tests: subclass `CloudContract` and give it a fixture `rig`.

A rig is a system with nothing of ours in it, on which drivers can be opened again and again, and which somebody
else may change meanwhile. Every test looks through a driver that did not make what it sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import Protocol

import pytest

from intertie.agent.ports import Cloud
from intertie.model.errors import Refused
from intertie.model.items import Host, Item, ItemKind, Key, Network, key
from intertie.planning.diff import diff
from intertie.planning.identity import bridge_name

PATIENCE = 5.0
"""Seconds in which news must have come."""


class Rig(Protocol):
    """A system under test."""

    def cloud(self) -> Cloud:
        """A driver on the system that remembers nothing."""
        ...

    async def writes(self) -> int:
        """How often drivers have changed the system so far."""
        ...

    async def lose_addresses(self, host: Host) -> None:
        """Somebody takes the addresses off a host."""
        ...

    async def occupy(self, bridge: str, port: str) -> None:
        """Somebody else's virtual machine gets a port on a bridge."""
        ...

    async def make_bridge(self, name: str) -> None:
        """Somebody else makes a bridge."""
        ...

    async def has_bridge(self, name: str) -> bool: ...


# ── Sample items ───────────────────────────────────────────────────────────────────────────────────────────


def network(name: str = "blue", *, project: str = "red", mtu: int = 1450, bridge: str = "") -> Network:
    """10.0.0.0/24 and fd00:1::/64; on a bridge of our own unless `bridge` names one that is there."""
    id = f"nantes.net-{project}-{name}"
    return Network(
        id=id,
        name=name,
        project=project,
        prefixes=(ip_network("10.0.0.0/24"), ip_network("fd00:1::/64")),
        mtu=mtu,
        bridge=bridge or bridge_name(id),
        own=not bridge,
    )


def host(on: Network, number: int = 10, name: str = "web") -> Host:
    """10.0.0.<number> and fd00:1::<number>, gateways .1 and ::1."""
    return Host(
        id=f"nantes.host-{on.project}-{name}",
        name=name,
        project=on.project,
        network=on.id,
        bridge=on.bridge,
        interfaces=(ip_interface(f"10.0.0.{number}/24"), ip_interface(f"fd00:1::{number:x}/64")),
        gateways=(ip_address("10.0.0.1"), ip_address("fd00:1::1")),
        mtu=on.mtu,
    )


async def look(rig: Rig, keys: tuple[Key, ...] | None = None) -> dict[Key, Item]:
    return {key(item): item for item in await rig.cloud().observe(keys)}


async def make(rig: Rig, *items: Item) -> None:
    cloud = rig.cloud()
    for item in items:
        await cloud.ensure(item)


def by_key(*items: Item) -> dict[Key, Item]:
    return {key(item): item for item in items}


async def news(changes: AsyncIterator[Key], wanted: Key) -> None:
    """Waits until the key comes; TimeoutError when it does not."""
    async with asyncio.timeout(PATIENCE):
        while await anext(changes) != wanted:
            pass


class CloudContract:
    """The contract. Tests are independent of one another; each gets a rig of its own."""

    async def test_a_new_cloud_holds_nothing(self, rig: Rig) -> None:
        await rig.make_bridge("br0")
        assert await look(rig) == {}
        assert await rig.cloud().inventory() == ()

    async def test_what_was_ensured_is_seen_as_it_was_wished(self, rig: Rig) -> None:
        blue = network()
        web = host(blue)
        await make(rig, blue, web)
        assert await look(rig) == by_key(blue, web)

    async def test_keys_choose_what_is_seen(self, rig: Rig) -> None:
        blue, green = network("blue"), network("green")
        web = host(blue)
        await make(rig, blue, green, web)
        assert await look(rig, (key(green),)) == by_key(green)
        assert await look(rig, (key(web), (ItemKind.NETWORK, "nantes.none"))) == by_key(web)
        assert await look(rig, ()) == {}

    async def test_the_same_item_twice_writes_nothing(self, rig: Rig) -> None:
        blue = network()
        web = host(blue)
        await rig.make_bridge("br0")
        old = network("old", bridge="br0")
        await make(rig, blue, web, old)
        before = await rig.writes()
        assert before > 0
        await make(rig, blue, web, old)
        assert await rig.writes() == before

    async def test_an_edit_leaves_the_rest(self, rig: Rig) -> None:
        blue = network()
        web, db = host(blue), host(blue, 11, "db")
        await make(rig, blue, web, db)
        wider = replace(blue, mtu=1400, name="azure", prefixes=(*blue.prefixes, ip_network("10.0.1.0/24")))
        moved = replace(
            web,
            mtu=1400,
            interfaces=(ip_interface("10.0.0.20/24"), ip_interface("fd00:1::14/64")),
            gateways=(ip_address("10.0.0.254"),),
        )
        await make(rig, wider, moved)
        assert await look(rig) == by_key(wider, moved, db)
        bare = replace(moved, interfaces=(), gateways=())
        await make(rig, bare)
        assert await look(rig) == by_key(wider, bare, db)

    async def test_names_may_be_equal_in_two_projects_with_equal_prefixes(self, rig: Rig) -> None:
        red, white = network(project="red"), network(project="white")
        items = (red, white, host(red), host(white))
        await make(rig, *items)
        assert await look(rig) == by_key(*items)
        await rig.cloud().remove(host(red))
        assert await look(rig) == by_key(red, white, host(white))

    async def test_long_names_are_kept_whole(self, rig: Rig) -> None:
        long = network("b" * 63, project="p" * 63)
        other = network("b" * 62 + "c", project="p" * 63)
        items = (long, other, host(long, name="w" * 63), host(other, name="w" * 62 + "v"))
        await make(rig, *items)
        assert await look(rig) == by_key(*items)

    async def test_remove_takes_away_and_absent_is_success(self, rig: Rig) -> None:
        blue = network()
        web = host(blue)
        await make(rig, blue, web)
        for _ in range(2):
            await rig.cloud().remove(web)
            assert await look(rig) == by_key(blue)
        for _ in range(2):
            await rig.cloud().remove(blue)
            assert await look(rig) == {}
        assert not await rig.has_bridge(blue.bridge)
        await make(rig, blue, web)
        assert await look(rig) == by_key(blue, web)

    async def test_a_network_with_ports_is_not_removed(self, rig: Rig) -> None:
        blue = network()
        web = host(blue)
        await make(rig, blue, web)
        with pytest.raises(Refused, match="web") as refused:
            await rig.cloud().remove(blue)
        assert refused.value.code == "in-use"
        await rig.cloud().remove(web)
        await rig.occupy(blue.bridge, "tap7")
        with pytest.raises(Refused, match="tap7"):
            await rig.cloud().remove(blue)
        assert await look(rig) == by_key(blue)

    async def test_a_host_needs_its_network(self, rig: Rig) -> None:
        with pytest.raises(Refused) as refused:
            await rig.cloud().ensure(host(network()))
        assert refused.value.code == "unknown-network"
        assert await look(rig) == {}

    async def test_an_existing_bridge_is_used_and_given_back(self, rig: Rig) -> None:
        old = network("old", bridge="br0")
        with pytest.raises(Refused) as refused:
            await rig.cloud().ensure(old)
        assert refused.value.code == "unknown-network"
        await rig.make_bridge("br0")
        await rig.occupy("br0", "tap1")
        web = host(old)
        await make(rig, old, web)
        assert await look(rig) == by_key(old, web)
        renamed = replace(old, name="older")
        await make(rig, renamed)
        assert await look(rig) == by_key(renamed, web)
        with pytest.raises(Refused, match="web"):
            await rig.cloud().remove(renamed)
        await rig.cloud().remove(web)
        await rig.cloud().remove(renamed)
        assert await look(rig) == {}
        assert await rig.has_bridge("br0")

    async def test_the_inventory_shows_addresses_and_ports_of_tenants(self, rig: Rig) -> None:
        blue, green = network("blue"), network("green")
        await make(rig, blue, green, host(blue, 10, "web"), host(blue, 11, "db"))
        await rig.occupy(blue.bridge, "tap7")
        facts = {n.id: n for n in await rig.cloud().inventory()}
        assert set(facts) == {blue.id, green.id}
        seen = facts[blue.id]
        assert (seen.name, seen.project, seen.prefixes, seen.mtu) == (
            blue.name,
            blue.project,
            blue.prefixes,
            blue.mtu,
        )
        assert (seen.bridge, seen.own, seen.attachable, seen.reason) == (blue.bridge, True, True, "")
        assert seen.ports == 3
        assert [a for a in seen.addresses_in_use if isinstance(a, IPv4Address)] == [
            ip_address("10.0.0.10"),
            ip_address("10.0.0.11"),
        ]
        assert ip_address("fd00:1::a") in seen.addresses_in_use
        assert (facts[green.id].ports, facts[green.id].addresses_in_use) == (0, ())

    async def test_changes_name_what_moved(self, rig: Rig) -> None:
        blue = network()
        web = host(blue)
        changes = rig.cloud().changes()
        first = asyncio.create_task(news(changes, key(blue)))
        done, _ = await asyncio.wait({first}, timeout=0.05)  # the subscription reaches the system; it cannot say when
        assert not done
        await make(rig, blue)
        await first
        await make(rig, web)
        await news(changes, key(web))
        await rig.occupy(blue.bridge, "tap7")
        await news(changes, key(blue))
        await rig.cloud().remove(web)
        await news(changes, key(web))

    async def test_what_somebody_else_changed_is_seen_and_mended(self, rig: Rig) -> None:
        blue = network()
        web, db = host(blue), host(blue, 11, "db")
        await make(rig, blue, web, db)
        await rig.lose_addresses(web)
        seen = await look(rig)
        assert seen[key(db)] == db
        plan = diff((blue, web, db), seen.values(), lambda k: True)
        assert [change.item for change in plan.changes] == [web]
        await make(rig, *(change.item for change in plan.changes))
        assert await look(rig) == by_key(blue, web, db)

    async def test_many_at_once(self, rig: Rig) -> None:
        nets = [network(f"n{i}") for i in range(5)]
        hosts = [host(net, 10 + i, f"{net.name}-h{i}") for net in nets for i in range(4)]
        cloud = rig.cloud()
        await asyncio.gather(*(cloud.ensure(net) for net in nets))
        await asyncio.gather(*(cloud.ensure(one) for one in hosts))
        assert await look(rig) == by_key(*nets, *hosts)
        await asyncio.gather(*(cloud.remove(one) for one in hosts))
        await asyncio.gather(*(cloud.remove(net) for net in nets))
        assert await look(rig) == {}
