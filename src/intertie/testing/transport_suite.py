"""What every transport driver must do, as tests: subclass `TransportContract` and give it a fixture `rig`.

A rig is three sites, 1 to 3, around an underlay that carries packets between all of them, with nothing of ours in
it. Drivers are opened on it again and again: every test looks through one that did not make what it sees. What
forwards is tried with packets, or by whatever stands for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Protocol

import pytest

from intertie.agent.ports import Transport
from intertie.model.bodies import Endpoint, Range, VpnKind
from intertie.model.items import Item, ItemKind, Key, Remote, Segment, key
from intertie.planning.diff import diff
from intertie.planning.identity import segment_mac

PATIENCE = 5.0
"""Seconds in which news must have come."""
ALL = (1, 2, 3)
KINDS = pytest.mark.parametrize("kind", list(VpnKind))


class Rig(Protocol):
    """A system under test. Sites are called "s1" to "s3"; a bridge has the same name wherever it is."""

    def transport(self, site: int) -> Transport:
        """A driver at a site that remembers nothing."""
        ...

    def endpoint(self, site: int, mac: str) -> Endpoint:
        """Where the site is reached on the underlay."""
        ...

    async def host(self, site: int, bridge: str, addresses: Collection[str], gateways: Collection[str]) -> None:
        """Somebody makes a bridge at a site, with a host on it."""
        ...

    async def pings(self, site: int, bridge: str, source: str, target: str) -> bool:
        """Whether a host at a site gets an answer from the target address. False within a second, if not."""
        ...

    async def writes(self) -> int:
        """How often drivers have changed the system so far."""
        ...

    async def damage(self, site: int, segment: Segment) -> None:
        """Somebody breaks a segment by hand, without taking it all away."""
        ...

    async def cut(self, site: int) -> None:
        """The underlay loses a site."""
        ...

    async def heal(self, site: int) -> None: ...


class Sites:
    """Samples: a Vpn over the rig's sites, tagged so that several may use the same addresses."""

    def __init__(self, rig: Rig, kind: VpnKind, tag: str = "a") -> None:
        self.rig = rig
        self.kind = kind
        self.tag = tag
        self.vpn = f"s1.vpn-{kind.value}-{tag}"
        self.bridge = f"br-{kind.value}-{tag}"
        self.vni = 70_000 + 100 * list(VpnKind).index(kind) + ord(tag)

    async def build(self, sites: Collection[int] = ALL) -> Sites:
        for site in sites:
            gateways = [] if self.kind is VpnKind.L2 else [f"10.{site}.0.1"]
            await self.rig.host(site, self.bridge, [self.address(site)], gateways)
        return self

    def address(self, site: int) -> str:
        """The host's, with its prefix length where a driver's user writes it."""
        return f"10.0.0.{site}0" if self.kind is VpnKind.L2 else f"10.{site}.0.10"

    def endpoint(self, site: int) -> Endpoint:
        return self.rig.endpoint(site, segment_mac(f"s{site}", self.vpn))

    def segment(self, site: int, remotes: Collection[int] = ALL) -> Segment:
        routed = self.kind is VpnKind.L3
        prefixes = {j: (ip_network(f"10.{j}.0.0/24"),) if routed else () for j in ALL}
        mine = Range(first=ip_address(f"10.0.0.{site}0"), last=ip_address(f"10.0.0.{site}9"))
        return Segment(
            vpn=self.vpn,
            kind=self.kind,
            epoch=1,
            vni=self.vni,
            network=f"s{site}.net-{self.tag}-{self.kind.value}",
            bridge=self.bridge,
            local=self.endpoint(site),
            mtu=1450,
            remotes=tuple(
                Remote(site=f"s{j}", endpoints=(self.endpoint(j),), prefixes=prefixes[j])
                for j in remotes
                if j != site
            ),
            gateways=(ip_interface(f"10.{site}.0.1/24"),) if routed else (),
            ranges=() if routed else (mine,),
        )

    async def ensure(self, *sites: int, members: Collection[int] = ALL) -> None:
        for site in sites:
            await self.rig.transport(site).ensure(self.segment(site, members))

    async def reached(self, site: int) -> list[int]:
        """The other sites whose hosts answer this one's."""
        others = [j for j in ALL if j != site]
        asked = [self.rig.pings(site, self.bridge, self.address(site), self.address(j)) for j in others]
        return [j for j, answered in zip(others, await asyncio.gather(*asked), strict=True) if answered]

    async def reaches_again(self, site: int, others: list[int]) -> bool:
        """Whether these answer once more. Who was cut off has neighbours that it gave up: they are asked for anew,
        a second apart (RFC 4861 section 7.2.2; IPv4 does as much)."""
        for _ in range(8):
            if await self.reached(site) == others:
                return True
        return False


async def look(rig: Rig, site: int, keys: tuple[Key, ...] | None = None) -> dict[Key, Item]:
    return {key(item): item for item in await rig.transport(site).observe(keys)}


def by_key(*items: Item) -> dict[Key, Item]:
    return {key(item): item for item in items}


async def news(changes: AsyncIterator[Key], wanted: Key) -> None:
    """Waits until the key comes; TimeoutError when it does not."""
    async with asyncio.timeout(PATIENCE):
        while await anext(changes) != wanted:
            pass


class TransportContract:
    """The contract. Tests are independent of one another; each gets a rig of its own."""

    async def test_a_new_transport_holds_nothing(self, rig: Rig) -> None:
        for site in ALL:
            assert await look(rig, site) == {}

    @KINDS
    async def test_what_was_ensured_is_seen_as_it_was_wished(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(*ALL)
        for site in ALL:
            assert await look(rig, site) == by_key(a.segment(site))

    async def test_keys_choose_what_is_seen(self, rig: Rig) -> None:
        a, b = await Sites(rig, VpnKind.L2).build(), await Sites(rig, VpnKind.L3).build()
        await a.ensure(1)
        await b.ensure(1)
        assert await look(rig, 1) == by_key(a.segment(1), b.segment(1))
        assert await look(rig, 1, (key(b.segment(1)), (ItemKind.SEGMENT, "s9.x/y"))) == by_key(b.segment(1))
        assert await look(rig, 1, ()) == {}

    @KINDS
    async def test_the_same_segment_twice_writes_nothing(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(*ALL)
        before = await rig.writes()
        assert before > 0
        await a.ensure(*ALL)
        assert await rig.writes() == before

    @KINDS
    async def test_members_reach_one_another_once_both_have_it(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(1)
        assert await a.reached(1) == []
        await a.ensure(2)
        assert [await a.reached(site) for site in ALL] == [[2], [1], []]
        await a.ensure(3)
        assert [await a.reached(site) for site in ALL] == [[2, 3], [1, 3], [1, 2]]

    @KINDS
    async def test_a_member_comes_and_goes(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(1, 2, members=(1, 2))
        await a.ensure(3)
        assert await a.reached(3) == []
        await a.ensure(1, 2)
        assert [await a.reached(site) for site in ALL] == [[2, 3], [1, 3], [1, 2]]
        # The removed site is left as it was, and still sends.
        await a.ensure(1, 2, members=(1, 2))
        assert [await a.reached(site) for site in ALL] == [[2], [1], []]
        assert await look(rig, 3) == by_key(a.segment(3))

    @KINDS
    async def test_vpns_with_equal_addresses_do_not_meet(self, rig: Rig, kind: VpnKind) -> None:
        red, blue = await Sites(rig, kind, "r").build(), await Sites(rig, kind, "b").build()
        await red.ensure(1, 2)
        await blue.ensure(1, 3)
        assert await look(rig, 1) == by_key(red.segment(1), blue.segment(1))
        assert await red.reached(1) == [2]
        assert await blue.reached(1) == [3]
        await rig.transport(1).remove(red.segment(1))
        assert await red.reached(1) == []
        assert await blue.reached(1) == [3]

    @KINDS
    async def test_everything_about_a_segment_may_change(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(*ALL)
        segment = a.segment(1)
        gateway = ip_interface("10.1.0.1/24")
        for want in (
            replace(segment, epoch=7, mtu=1400),
            replace(segment, gateways=(gateway, ip_interface("10.1.0.2/24"))),
            replace(segment, remotes=()),
            replace(segment, local=replace(segment.local, port=4790)),
            replace(segment, local=replace(segment.local, mac="fe:00:00:00:00:77")),
            segment,
        ):
            await rig.transport(1).ensure(want)
            assert await look(rig, 1) == by_key(want)
        assert await a.reached(1) == [2, 3]

    @KINDS
    async def test_a_blocked_segment_is_held_and_forwards_nothing(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(*ALL)
        blocked = replace(a.segment(1), blocked=True)
        await rig.transport(1).ensure(blocked)
        assert await look(rig, 1) == by_key(blocked)
        assert [await a.reached(site) for site in ALL] == [[], [3], [2]]
        await a.ensure(1)
        assert await a.reached(1) == [2, 3]

    @KINDS
    async def test_what_somebody_else_broke_is_seen_and_mended(self, rig: Rig, kind: VpnKind) -> None:
        a, b = await Sites(rig, kind, "a").build(), await Sites(rig, kind, "b").build()
        await a.ensure(*ALL)
        await b.ensure(*ALL)
        await rig.damage(1, a.segment(1))
        assert await a.reached(1) == []
        seen = await look(rig, 1)
        plan = diff((a.segment(1), b.segment(1)), seen.values(), lambda k: True)
        assert [change.item for change in plan.changes] == [a.segment(1)]
        for change in plan.changes:
            await rig.transport(1).ensure(change.item)
        assert await look(rig, 1) == by_key(a.segment(1), b.segment(1))
        assert await a.reached(1) == [2, 3]

    @KINDS
    async def test_remove_takes_away_and_absent_is_success(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(*ALL)
        for _ in range(2):
            await rig.transport(1).remove(a.segment(1))
            assert await look(rig, 1) == {}
        assert await a.reached(2) == [3]
        await a.ensure(1)
        assert await a.reached(1) == [2, 3]

    @KINDS
    async def test_a_site_that_is_cut_off_keeps_what_it_has(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(*ALL)
        await rig.cut(3)
        assert [await a.reached(site) for site in ALL] == [[2], [1], []]
        assert await look(rig, 3) == by_key(a.segment(3))
        await rig.heal(3)
        assert await a.reaches_again(3, [1, 2])

    @KINDS
    async def test_changes_name_what_moved(self, rig: Rig, kind: VpnKind) -> None:
        a = await Sites(rig, kind).build()
        await a.ensure(*ALL)
        changes = rig.transport(1).changes()
        first = asyncio.create_task(news(changes, key(a.segment(1))))
        # The subscription reaches the system some time soon; it cannot say when: so break and mend until it hears.
        async with asyncio.timeout(PATIENCE):
            while not first.done():
                await rig.damage(1, a.segment(1))
                await a.ensure(1)
                await asyncio.wait({first}, timeout=0.05)
        await first
