"""A federation in one process: what users and operators do, and what breaks meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from intertie.model.bodies import Require, VpnBody, VpnKind
from intertie.model.errors import Conflict, IntertieError, NotFound, Refused, Unavailable
from intertie.model.items import Network
from intertie.model.views import VpnRequest
from intertie.planning.compile import network_ranges, wanted_networks
from intertie.planning.ranges import within
from intertie.testing.federation import OPERATOR, World, attachment
from intertie.testing.virtual_time import run

SITES = ("nantes", "lyon", "rennes")


def scenario(story: Callable[[World], Awaitable[None]], sites: tuple[str, ...] = SITES, delay: float = 0.02) -> None:
    """Run a story in a world of enrolled sites."""

    async def main() -> None:
        world = World(delay=delay)
        try:
            for name in sites:
                await world.site(name)
            await world.enrol(*sites)
            await story(world)
        finally:
            await world.close()

    run(main())


async def l2(world: World, *attachments: str) -> str:
    await world.net("nantes", "blue", "10.0.0.0/24", "2001:db8:1::/64")
    id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", *(attachments or ("lyon", "rennes")))
    return id


async def l3(world: World) -> str:
    for n, name in enumerate(SITES):
        await world.net(name, "db", f"10.{n + 1}.0.0/24")
    return await world.vpn("nantes", "route", "l3", *(f"{s}:db" for s in SITES))


def everywhere(world: World, id: str, phase: str = "ready") -> Callable[[], bool]:
    return lambda: all(world.phase(s, id) == phase for s in world.running)


def body_at(world: World, site: str, id: str) -> VpnBody:
    record = world.running[site].agent.table.get(id)
    assert record is not None
    assert isinstance(record.body, VpnBody)
    return record.body


def is_there(world: World, site: str, network: str) -> Callable[[], bool]:
    return lambda: network in networks(world, site)


def networks(world: World, site: str) -> set[str]:
    return {b.network.name for b in world.systems[site].bridges.values() if b.network is not None}


def test_l2_over_three_sites_is_ready_everywhere() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        seen = world.running["lyon"].vpns.get(OPERATOR, id)
        assert [m.answer for m in seen.members] == ["accepted"] * 3
        assert {p.health.value for p in seen.pairs} == {"ready"}
        host = await world.running["lyon"].networks.create_host(OPERATOR, "a", "blue")
        assert within(host.address, seen.members[1].ranges)
        assert networks(world, "rennes") == {"blue"}

    scenario(story)


def test_ranges_of_members_never_meet() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        members = world.running["nantes"].vpns.get(OPERATOR, id).members
        held = [(int(r.first), int(r.last), r.first.version) for m in members for r in m.ranges]
        for i, (a, b, v) in enumerate(held):
            for c, d, w in held[i + 1 :]:
                assert v != w or b < c or d < a

    scenario(story)


def test_l3_learns_prefixes_from_members_and_freezes_them() -> None:
    async def story(world: World) -> None:
        id = await l3(world)
        await world.until(everywhere(world, id))
        await world.until(lambda: all(a.prefixes for a in body_at(world, "rennes", id).attachments))
        segment = next(s for s in world.running["lyon"].segments() if s.vpn == id)
        assert {str(p) for r in segment.remotes for p in r.prefixes} == {"10.1.0.0/24", "10.3.0.0/24"}

    scenario(story)


def test_an_l3_overlap_is_refused_naming_both_and_nothing_remains() -> None:
    async def story(world: World) -> None:
        await world.net("nantes", "db", "10.1.0.0/24")
        await world.net("lyon", "db", "10.1.0.128/25")
        with pytest.raises(Conflict) as caught:
            await world.vpn("nantes", "route", "l3", "nantes:db", "lyon:db")
        assert caught.value.code == "refused-by-member"
        assert "10.1.0.0/24" in caught.value.detail
        assert "10.1.0.128/25" in caught.value.detail
        await world.until(lambda: all(not s.segments() for s in world.running.values()))
        await world.until(lambda: all(s.vpns.all(OPERATOR) == [] for s in world.running.values()))

    scenario(story)


def test_l2_create_is_decided_in_one_wave_and_l3_with_unknown_prefixes_too() -> None:
    """Rule 8: with 100 ms each way, one wave takes 200 ms; two would take 400."""

    async def story(world: World) -> None:
        loop = asyncio.get_running_loop()
        await world.net("nantes", "blue", "10.0.0.0/24")
        begun = loop.time()
        await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon", "rennes")
        assert loop.time() - begun < 0.3

    scenario(story, delay=0.1)


def test_without_mapping_a_member_refuses_and_says_how_to_grant() -> None:
    async def story(world: World) -> None:
        await world.running["lyon"].enrolment.map("nantes", "demo", "demo", ())
        await world.net("nantes", "blue", "10.0.0.0/24")
        with pytest.raises(Conflict) as caught:
            await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon", "rennes")
        assert "intertie site map nantes demo" in caught.value.hint
        await world.until(lambda: networks(world, "rennes") == set())

    scenario(story)


def test_require_any_goes_on_without_who_refuses() -> None:
    async def story(world: World) -> None:
        await world.running["lyon"].enrolment.map("nantes", "demo", "demo", ())
        await world.net("nantes", "blue", "10.0.0.0/24")
        request = VpnRequest(
            name="s",
            kind=VpnKind.L2,
            attachments=tuple(attachment(a) for a in ("nantes:blue", "lyon", "rennes")),
            require=Require.ANY,
        )
        made = await world.running["nantes"].vpns.create(OPERATOR, request, 5.0)
        assert made.phase.value == "degraded"
        await world.until(lambda: any(s.remotes for s in world.running["rennes"].segments()))
        # The operator of lyon changes its mind: the next round brings it in.
        await world.running["lyon"].enrolment.map("nantes", "demo", "demo")
        await world.until(everywhere(world, made.id))

    scenario(story)


def test_silence_changes_nothing_and_a_silent_member_joins_when_it_returns() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        before = {s: set(x.segments()) for s, x in world.running.items()}
        writes = world.underlay.writes
        world.isolate("lyon")
        await asyncio.sleep(300)
        assert {s: set(x.segments()) for s, x in world.running.items()} == before
        assert world.underlay.writes == writes
        assert {p.health.value for p in world.running["nantes"].vpns.get(OPERATOR, id).pairs} != {"ready"}
        world.heal()
        await world.until(everywhere(world, id))

    scenario(story)


def test_a_member_that_is_away_at_creation_comes_in_later() -> None:
    async def story(world: World) -> None:
        await world.crash("lyon")
        id = await l2(world)
        assert world.phase("nantes", id) == "waiting"
        await world.until(lambda: any(s.remotes for s in world.running["rennes"].segments()))
        await world.start("lyon")
        await world.until(everywhere(world, id))

    scenario(story)


def test_a_killed_agent_starts_again_with_an_empty_plan() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await world.crash("lyon")
        writes = world.underlay.writes + world.systems["lyon"].writes
        await world.start("lyon")
        await world.until(everywhere(world, id))
        assert world.underlay.writes + world.systems["lyon"].writes == writes

    scenario(story)


@pytest.mark.parametrize("lost", ["lyon", "nantes"])
def test_a_lost_database_removes_nothing_and_comes_back_from_peers(lost: str) -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        before = set(world.running[lost].segments())
        await world.crash(lost)
        world.disks[lost].lose()
        writes = world.underlay.writes
        site = await world.start(lost)
        assert set(site.segments()) == before
        await world.until(lambda: site.agent.table.get(id) is not None, 60)
        await world.until(everywhere(world, id))
        assert world.underlay.writes == writes, "not a remote was touched on the way"
        assert {(s.vpn, s.vni, s.remotes) for s in site.segments()} == {(s.vpn, s.vni, s.remotes) for s in before}

    scenario(story)


def test_a_member_is_removed_and_added_and_the_others_do_not_notice() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        vpns = world.running["nantes"].vpns
        await vpns.update(OPERATOR, id, "", [attachment("nantes:blue"), attachment("rennes")], "*", 5.0)
        await world.until(lambda: not world.running["lyon"].segments())
        await world.until(lambda: networks(world, "lyon") == set())
        await world.until(lambda: world.phase("nantes", id) == "ready")
        assert [m.site for m in vpns.get(OPERATOR, id).members] == ["nantes", "rennes"]
        again = [attachment("nantes:blue"), attachment("rennes"), attachment("lyon")]
        await vpns.update(OPERATOR, id, "", again, "*", 5.0)
        await world.until(everywhere(world, id))

    scenario(story)


def test_who_left_a_vpn_is_told_no_more_of_it_and_shows_it_no_more() -> None:
    """Else it would stand there for ever, under a name that nobody there could use again."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        nantes, rennes = world.running["nantes"].vpns, world.running["rennes"].vpns
        await nantes.update(OPERATOR, id, "", [attachment("nantes:blue"), attachment("lyon")], "*", wait=5)
        await world.until(lambda: "blue" not in networks(world, "rennes"))
        assert id not in [v.id for v in rennes.all(OPERATOR)]
        with pytest.raises(NotFound):
            rennes.get(OPERATOR, id)
        await nantes.update(OPERATOR, id, "other", [attachment("nantes:blue"), attachment("lyon")], "*", wait=5)
        assert await nantes.delete(OPERATOR, id, wait=5) is None
        await world.net("rennes", "green", "10.9.0.0/24")
        again = await world.vpn("rennes", "stretch", "l2", "rennes:green", "lyon")
        assert [v.id for v in rennes.all(OPERATOR)] == [again]

    scenario(story)


def test_delete_is_guarded_by_ports_and_gives_the_range_back() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        lyon, nantes = world.running["lyon"], world.running["nantes"]
        await lyon.networks.create_host(OPERATOR, "a", "blue")
        await world.until(lambda: len(world.systems["lyon"].hosts) == 1)
        with pytest.raises(Conflict) as caught:
            await nantes.vpns.delete(OPERATOR, id, wait=5.0)
        assert caught.value.code == "in-use"
        assert caught.value.sites == ("lyon",)
        assert world.phase("nantes", id) == "deleting"
        assert any(s.remotes for s in lyon.segments()), "closing alters no forwarding"
        with pytest.raises(Conflict):
            await lyon.networks.create_host(OPERATOR, "b", "blue")
        await lyon.networks.delete_host(OPERATOR, "a")
        await world.until(lambda: all(not s.segments() for s in world.running.values()))
        await world.until(lambda: networks(world, "lyon") == networks(world, "rennes") == set())
        network = next(iter(wanted_networks(nantes.agent.table).values()))
        assert next(str(r.last) for r in network_ranges(nantes.agent.table, network)) == "10.0.0.254"

    scenario(story)


def test_a_forced_delete_destroys_nothing_in_use() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await world.running["lyon"].networks.create_host(OPERATOR, "a", "blue")
        await world.until(lambda: len(world.systems["lyon"].hosts) == 1)
        assert await world.running["nantes"].vpns.delete(OPERATOR, id, force=True, wait=5.0) is None
        await world.until(lambda: not world.running["lyon"].segments())
        await world.until(lambda: networks(world, "rennes") == set())
        assert networks(world, "lyon") == {"blue"}
        assert len(world.systems["lyon"].hosts) == 1
        await world.running["lyon"].networks.delete_host(OPERATOR, "a")
        await world.until(lambda: networks(world, "lyon") == set())

    scenario(story)


def test_a_change_from_another_member_is_proposed_to_the_home() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        lyon = world.running["lyon"]
        members = [attachment(a) for a in ("nantes:blue", "lyon", "rennes")]
        done = await lyon.vpns.update(OPERATOR, id, "renamed", members, "*", 5.0)
        assert done.pending is None
        await world.until(lambda: lyon.vpns.get(OPERATOR, id).name == "renamed")
        world.isolate("nantes")
        with pytest.raises(Unavailable) as caught:
            await lyon.vpns.update(OPERATOR, id, "again", members, "*", 3.0)
        assert caught.value.code == "owner-silent"
        assert "adopt" in caught.value.hint
        await lyon.vpns.adopt(OPERATOR, id)
        done = await lyon.vpns.update(OPERATOR, id, "adopted", members, "*", 3.0)
        assert done.vpn.owner == "lyon"
        world.heal()
        await world.until(lambda: world.running["nantes"].vpns.get(OPERATOR, id).owner == "lyon")
        await world.until(everywhere(world, id))

    scenario(story)


def test_a_proposal_and_a_new_vpn_in_one_message_are_both_answered_at_once() -> None:
    """Not the one now, and the other when all is looked at again a minute later."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        for n, name in enumerate(("nantes", "lyon")):
            await world.net(name, "db", f"10.{n + 1}.0.0/24")
        await world.until(lambda: all(is_there(world, s, "db")() for s in ("nantes", "lyon")))
        world.isolate("nantes")
        lyon = world.running["lyon"]
        members = [attachment(a) for a in ("nantes:blue", "lyon", "rennes")]
        asked = await lyon.vpns.update(OPERATOR, id, "renamed", members, "*")
        assert asked.pending is not None
        other = await world.vpn("lyon", "route", "l3", "lyon:db", "nantes:db", wait=1.0)
        world.heal()
        await world.until(lambda: lyon.vpns.get(OPERATOR, id).name == "renamed", 20.0)
        await world.until(lambda: world.phase("lyon", other) == "ready", 20.0)

    scenario(story)


def test_a_forgotten_site_is_cut_off_and_the_others_go_on() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await world.running["nantes"].enrolment.forget("lyon")
        await world.until(
            lambda: [r.site for s in world.running["nantes"].segments() for r in s.remotes] == ["rennes"], 10
        )
        assert not world.underlay.crosses(id, "lyon", "nantes")
        assert world.underlay.crosses(id, "rennes", "nantes")
        assert {p.name: p.state for p in world.running["nantes"].enrolment.peers()}["lyon"] == "forgotten"

    scenario(story)


def test_a_site_that_cannot_be_called_gets_its_news_as_replies() -> None:
    async def main() -> None:
        world = World()
        try:
            await world.site("nantes")
            await world.site("lyon", reachable=False)
            await world.enrol("nantes", "lyon")
            await world.net("nantes", "blue", "10.0.0.0/24")
            begun = asyncio.get_running_loop().time()
            id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
            assert asyncio.get_running_loop().time() - begun < 1.0, "the held call brings it at once"
            await world.until(everywhere(world, id))
            assert not [c for c in world.network.carried or () if c[1] == "nantes"]
        finally:
            await world.close()

    run(main())


def test_an_invitation_serves_once_and_only_its_name() -> None:
    async def main() -> None:
        world = World()
        try:
            for name in SITES:
                await world.site(name)
            token, _ = await world.running["nantes"].enrolment.invite("lyon")
            with pytest.raises(Refused):
                await world.running["rennes"].enrolment.join(token)
            forged = token.replace("lyon", "rennes", 1)
            with pytest.raises(IntertieError):
                await world.running["rennes"].enrolment.join(forged)
            await world.running["lyon"].enrolment.join(token)
            await world.until(lambda: "lyon" in world.running["nantes"].agent.pins())
        finally:
            await world.close()

    run(main())


def test_introductions_wait_for_approval_where_the_site_asks() -> None:
    async def main() -> None:
        world = World()
        try:
            await world.site("nantes")
            await world.site("lyon", introductions="ask")
            await world.site("rennes", introductions="ask")
            for name in ("lyon", "rennes"):
                token, _ = await world.running["nantes"].enrolment.invite(name)
                await world.running[name].enrolment.join(token)
            lyon, rennes = world.running["lyon"].enrolment, world.running["rennes"].enrolment
            await world.until(lambda: {p.name: p.state for p in lyon.peers()}.get("rennes") == "pending")
            assert next(p for p in lyon.peers() if p.name == "rennes").introduced_by == "nantes"
            await lyon.approve("rennes")
            await world.until(lambda: any(p.name == "lyon" for p in rennes.peers()))
            await rennes.approve("lyon")
            await world.until(lambda: {p.name: p.state for p in lyon.peers()}["rennes"] == "up")
        finally:
            await world.close()

    run(main())


def test_a_quiet_federation_makes_no_driver_writes_and_few_calls() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await asyncio.sleep(30)
        writes, calls = world.underlay.writes, world.network.calls
        await asyncio.sleep(600)
        assert world.underlay.writes == writes
        # Three pairs, one caller each, a heartbeat of 8 to 10 s.
        assert world.network.calls - calls <= 3 * 600 / 8 + 3

    scenario(story)


def test_verify_runs_every_pair_of_hosts() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        for n, site in enumerate(SITES):
            await world.until(is_there(world, site, "blue"))
            await world.running[site].networks.create_host(OPERATOR, f"h{n}", "blue")
        await world.until(everywhere(world, id))
        found = await world.running["nantes"].vpns.verify(OPERATOR, id)
        assert found.ok
        assert len({(p.from_.host, p.to.host) for p in found.pairs}) == 6
        world.cut("lyon", "rennes")
        found = await world.running["nantes"].vpns.verify(OPERATOR, id)
        assert not found.ok
        broken = {(p.from_.site, p.to.site) for p in found.pairs if not p.ok}
        assert broken == {("lyon", "rennes"), ("rennes", "lyon")}

    scenario(story)


def test_a_network_in_use_by_a_vpn_is_not_deleted() -> None:
    async def story(world: World) -> None:
        await l2(world)
        with pytest.raises(Conflict):
            await world.running["nantes"].networks.delete(OPERATOR, "blue")
        assert any(isinstance(n, Network) for n in wanted_networks(world.running["nantes"].agent.table).values())

    scenario(story)


def test_a_long_absence_is_caught_up_in_pages() -> None:
    async def story(world: World) -> None:
        world.isolate("lyon")
        ids = []
        for n in range(260):
            await world.net("nantes", f"n{n}", f"10.{n // 256}.{n % 256}.0/24")
            ids.append(await world.vpn("nantes", f"v{n}", "l2", f"nantes:n{n}", "lyon", wait=0.0))
        world.heal()
        await world.until(lambda: len(world.running["lyon"].vpns.all(OPERATOR)) == len(ids), 300)
        # And back: a site that lost its store has 260 answers to take back, in pages too.
        await world.crash("lyon")
        world.disks["lyon"].lose()
        await world.start("lyon")
        agent = world.running["lyon"].agent
        await world.until(lambda: not agent.recovering, 60)
        assert all(agent.table.answer_record(i, "lyon") is not None for i in ids)

    scenario(story, ("nantes", "lyon"))
