"""Rounds that find nothing new pass over everything; the first one that does finds all of it, as if none had."""

from __future__ import annotations

from intertie.model.items import Key, key
from intertie.testing.federation import OPERATOR, Site, World
from intertie.testing.virtual_time import run


async def settled() -> tuple[World, Site, str]:
    """nantes, with a Vpn to lyon that is ready, after rounds that had nothing to do."""
    world = World()
    for name in ("nantes", "lyon"):
        await world.site(name)
    await world.enrol("nantes", "lyon")
    await world.net("nantes", "blue", "10.0.0.0/24")
    vpn = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
    await world.until(lambda: world.phase("nantes", vpn) == "ready")
    nantes = world.running["nantes"]
    for _ in range(3):
        report = await nantes.rounds.round()
    assert not report.plan
    return world, nantes, vpn


def writes(site: Site) -> int:
    """How often its drivers were asked to change something."""
    return sum(n for (_, op, *_), n in site.agent.figures.drivers.items() if op != "observe")


async def _drift() -> None:
    world, nantes, _ = await settled()
    (segment,) = nantes.segments()
    before = writes(nantes)
    for broken in (
        lambda: world.underlay.damage("nantes", key(segment)),
        lambda: world.underlay.segments["nantes"].clear(),
    ):
        broken()
        await nantes.rounds.round()
        assert nantes.segments() == [segment]
        assert not (await nantes.rounds.round()).plan
    assert writes(nantes) == before + 2
    await world.close()


async def _loop() -> None:
    world, nantes, vpn = await settled()
    nantes.agent.loop_seen(vpn)
    report = await nantes.rounds.round()
    assert [s.blocked for s in nantes.segments()] == [True]
    assert report.failures
    report = await nantes.rounds.round()
    assert report.failures, "it is told as long as it stands"
    await world.until(lambda: [s.blocked for s in nantes.segments()] == [False])
    await world.close()


async def _failure() -> None:
    """What a driver could not do is tried at every round."""
    world, nantes, _ = await settled()
    (segment,) = nantes.segments()
    world.days["nantes"].failing = 2
    world.underlay.segments["nantes"].clear()
    assert (await nantes.rounds.round()).failures
    assert (await nantes.rounds.round()).failures
    assert not (await nantes.rounds.round()).failures
    assert nantes.segments() == [segment]
    await world.close()


async def _ports() -> None:
    """What the cloud shows is looked at in each: a network of an ended Vpn goes once it is free."""
    world, _, vpn = await settled()
    lyon = world.running["lyon"]
    (bridge,) = world.systems["lyon"].bridges
    world.systems["lyon"].occupy(bridge, "vm")
    await world.running["nantes"].vpns.delete(OPERATOR, vpn, force=True, wait=5.0)
    await world.until(lambda: not lyon.segments())
    for _ in range(3):
        await lyon.rounds.round()
    assert bridge in world.systems["lyon"].bridges
    world.systems["lyon"].vacate(bridge, "vm")
    await lyon.rounds.round()
    assert bridge not in world.systems["lyon"].bridges
    await world.close()


async def _stuck() -> None:
    """A segment that should be gone still joins its network to others, where the new host's address may be in use."""
    world, nantes, vpn = await settled()
    usual = world.underlay.hindrance

    async def stuck(site: str, verb: str, k: Key | None) -> None:
        if (site, verb) == ("nantes", "remove"):
            raise OSError("device or resource busy")
        await usual(site, verb, k)

    world.underlay.hindrance = stuck
    await nantes.vpns.delete(OPERATOR, vpn, force=True, wait=5.0)
    await world.until(lambda: not world.running["lyon"].segments())
    await nantes.networks.create_host(OPERATOR, "h1", "blue")
    report = await nantes.rounds.round()
    assert nantes.segments()
    assert not world.systems["nantes"].hosts
    assert [r.text for _, r in report.failures if "is still on" in r.text]
    world.underlay.hindrance = usual
    await nantes.rounds.round()
    assert not nantes.segments()
    assert world.systems["nantes"].hosts
    await world.close()


def test_drift_is_seen() -> None:
    run(_drift())


def test_a_loop_is_seen_and_its_end() -> None:
    run(_loop())


def test_a_failure_is_met_again() -> None:
    run(_failure())


def test_nothing_new_is_joined_to_a_segment_that_should_be_gone() -> None:
    run(_stuck())


def test_ports_are_seen() -> None:
    run(_ports())
