"""Several transports keep the contract of one, and fail apart from one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from intertie.drivers.linux.frames import Place
from intertie.drivers.transport.several import SeveralTransports
from intertie.model.bodies import TransportFacts, VpnKind
from intertie.model.errors import Refused, Unavailable
from intertie.model.items import Key, Segment, key
from intertie.planning.identity import bridge_name
from intertie.testing.fake_transport import FakeTransport, FakeTransportRig
from intertie.testing.transport_suite import PATIENCE, Sites, TransportContract


class Carrying(FakeTransport):
    """A fake as it is put among others."""

    async def probe(self) -> TransportFacts:
        return TransportFacts(name="fake", ok=True)

    def place(self, segment: Segment) -> Place | None:
        return Place(netns=None, device=bridge_name(segment.network))


class SeveralRig(FakeTransportRig):
    """Everything is carried by `vxlan`, with another transport beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = FakeTransportRig()

    def transport(self, site: int) -> SeveralTransports:  # type: ignore[override]
        own, other = (Carrying(f"s{site}", rig.underlay) for rig in (self, self.beside))
        return SeveralTransports({"vxlan": own, "bgpvpn": other})

    def segments(self, site: int) -> tuple[Segment, Segment]:
        """One of each transport, not made yet."""
        return (sample(self, site, "vxlan"), sample(self, site, "bgpvpn"))


def sample(rig: SeveralRig, site: int, transport: str) -> Segment:
    made = Sites(rig, VpnKind.L2, transport[0]).segment(site)
    return replace(made, transport=transport)


@pytest.fixture
def rig() -> SeveralRig:
    return SeveralRig()


class TestSeveralTransports(TransportContract):
    pass


async def test_each_segment_is_made_by_the_one_it_names(rig: SeveralRig) -> None:
    ours, theirs = rig.segments(1)
    both = rig.transport(1)
    await both.ensure(ours)
    await both.ensure(theirs)
    assert list(rig.underlay.segments["s1"].values()) == [ours]
    assert list(rig.beside.underlay.segments["s1"].values()) == [theirs]
    assert await both.observe(None) == [ours, theirs]
    await both.remove(theirs)
    assert await both.observe(None) == [ours]


async def test_a_transport_that_is_not_here_is_named(rig: SeveralRig) -> None:
    segment = replace(rig.segments(1)[0], transport="mpls")
    for verb in (rig.transport(1).ensure, rig.transport(1).remove):
        with pytest.raises(Refused, match="carries nothing by mpls") as refused:
            await verb(segment)
        assert refused.value.code == "no-common-transport"
    assert rig.transport(1).place(segment) is None


async def hindered(site: str, verb: str, k: Key | None) -> None:
    raise Unavailable("the cloud answers 500")


async def test_one_that_fails_counts_as_it_was_last_seen(rig: SeveralRig) -> None:
    ours, theirs = rig.segments(1)
    both = rig.transport(1)
    for each in (ours, theirs):
        await both.ensure(each)
    assert await both.observe(None) == [ours, theirs]
    rig.beside.underlay.hindrance = hindered
    changed = replace(ours, epoch=2)
    await both.ensure(changed)
    assert await both.observe(None) == [changed, theirs]
    assert await both.observe((key(theirs),)) == [theirs]
    with pytest.raises(Unavailable):
        await both.remove(theirs)
    assert await rig.transport(1).observe(None) == [changed], "what was never seen is not made up"


async def test_what_went_is_not_shown_when_its_transport_fails_later(rig: SeveralRig) -> None:
    _, theirs = rig.segments(1)
    both = rig.transport(1)
    await both.ensure(theirs)
    await both.observe(None)
    await both.remove(theirs)
    await both.observe((key(theirs),))
    rig.beside.underlay.hindrance = hindered
    assert await both.observe(None) == []


async def test_when_none_can_be_looked_at_that_is_said(rig: SeveralRig) -> None:
    both = rig.transport(1)
    await both.observe(None)
    rig.underlay.hindrance = rig.beside.underlay.hindrance = hindered
    with pytest.raises(Unavailable, match="answers 500"):
        await both.observe(None)


class Deaf(Carrying):
    """Hears of nothing."""

    async def changes(self) -> AsyncIterator[Key]:
        raise Unavailable("no news here")
        yield


async def test_news_of_one_comes_though_another_has_none(rig: SeveralRig) -> None:
    ours, _ = rig.segments(1)
    both = SeveralTransports({"a": Deaf("s1", rig.underlay), "vxlan": Carrying("s1", rig.underlay)})
    news = both.changes()
    first = asyncio.ensure_future(anext(news))
    async with asyncio.timeout(PATIENCE):
        while not first.done():
            await both.ensure(ours)
            await both.remove(ours)
            await asyncio.wait({first}, timeout=0.05)
    assert await first == key(ours)
    await news.aclose()  # type: ignore[attr-defined]
