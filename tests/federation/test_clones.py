"""Rule 18 to its end: clones are told apart and quarantined; peers tell a site that its store is an old copy."""

from __future__ import annotations

import asyncio

import pytest

from intertie.agent.clones import LONE, Lineages
from intertie.model.errors import Unavailable
from intertie.model.records import Kind
from intertie.planning.identity import answer_id
from intertie.testing.federation import OPERATOR, World
from intertie.testing.simulated_network import Weather
from tests.federation.test_found import held
from tests.federation.test_life import SITES, everywhere, l2, scenario

PEERS = ("lyon", "rennes")


def quarantined(world: World, by: str, name: str) -> bool:
    return world.running[by].enrolment.peer(name).state == "quarantined"


async def both_live(world: World, name: str) -> None:
    """A clone of the site runs until its peers have noticed."""
    await world.clone(name)
    await world.until(lambda: all(quarantined(world, p, name) for p in SITES if p != name), 60.0)


def test_a_clone_is_noticed_and_neither_is_believed() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await both_live(world, "nantes")
        both = (world.running["nantes"], world.clones["nantes"])
        await world.until(lambda: all(set(s.agent.cloned_at()) == set(PEERS) for s in both), 60.0)
        for site in both:
            with pytest.raises(Unavailable, match="two agents on two stores write as nantes"):
                await site.vpns.delete(OPERATOR, id, wait=0.0)
        view = world.running["lyon"].enrolment.peer("nantes")
        assert "intertie site approve nantes" in view.problem
        assert any(e.kind == "quarantine" and e.id == "nantes" for e in world.running["lyon"].agent.events)
        # What stands goes on (rule 10).
        before = {s: world.running[s].segments() for s in SITES}
        await asyncio.sleep(120.0)
        assert {s: world.running[s].segments() for s in SITES} == before
        assert all(len(segments) == 1 and len(segments[0].remotes) == 2 for segments in before.values())

    scenario(story)


def test_what_a_quarantined_site_writes_is_not_taken() -> None:
    """The original is cut off from who knows, and writes; the others do not take it."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await both_live(world, "lyon")
        agent = world.running["lyon"].agent
        agent.accusers.clear()  # it lies, or runs a version that does not know what it is told
        await world.running["lyon"].enrolment.map("nantes", "other", "other")
        record = agent.table.answer_record(id, "lyon")
        assert record is not None
        before = held(world, "nantes", answer_id("lyon", id))
        world.end_clone("lyon")
        await asyncio.sleep(15.0)
        assert held(world, "nantes", answer_id("lyon", id)) == before
        assert quarantined(world, "nantes", "lyon")

    scenario(story)


@pytest.mark.parametrize("name", ["nantes", "rennes"])
def test_quarantine_ends_when_one_is_left(name: str) -> None:
    """And the one that is left has what the other said in its name, so that all copies are equal again."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await both_live(world, name)
        world.end_clone(name)
        beat = world.running[name].agent.settings.heartbeat
        begun = asyncio.get_running_loop().time()
        await world.until(lambda: not any(quarantined(world, p, name) for p in SITES if p != name), 300.0)
        assert asyncio.get_running_loop().time() - begun > (LONE - 2) * beat
        agent = world.running[name].agent
        await world.until(lambda: not agent.cloned_at() and not agent.recovering, 60.0)
        await world.net(name, "more", "10.9.0.0/24")
        await world.vpn(name, "again", "l2", f"{name}:more", *[s for s in SITES if s != name])
        await asyncio.sleep(30.0)
        for record in [r for r in agent.table.all_of(Kind.VPN) if r.home == name]:
            assert {held(world, s, record.id) for s in SITES} == {record}

    scenario(story)


def test_quarantine_ends_when_an_operator_says_so() -> None:
    async def story(world: World) -> None:
        await both_live(world, "nantes")
        world.end_clone("nantes")
        for peer in PEERS:
            await world.running[peer].enrolment.approve("nantes")
            assert not quarantined(world, peer, "nantes")
        await world.until(lambda: not world.running["nantes"].agent.cloned_at(), 30.0)
        await asyncio.sleep(120.0)
        assert not any(quarantined(world, p, "nantes") for p in PEERS)

    scenario(story)


def test_an_operator_who_is_wrong_is_soon_corrected() -> None:
    async def story(world: World) -> None:
        await both_live(world, "nantes")
        await world.running["lyon"].enrolment.approve("nantes")
        assert not quarantined(world, "lyon", "nantes")
        await world.until(lambda: quarantined(world, "lyon", "nantes"), 60.0)

    scenario(story)


def test_a_quarantine_survives_a_restart_of_who_keeps_it() -> None:
    async def story(world: World) -> None:
        await both_live(world, "nantes")
        await world.crash("lyon")
        await world.start("lyon")
        assert quarantined(world, "lyon", "nantes")

    scenario(story)


def test_a_restart_is_no_clone_however_late_messages_come() -> None:
    """Again and again, while what the last agent said comes late and twice, and some of it after its successor's."""

    async def story(world: World) -> None:
        bad = Weather(duplicate=0.8, late=40.0)
        for other in PEERS:
            world.network.set_weather("nantes", other, bad)
            world.network.set_weather(other, "nantes", bad)
        for pause in (0.0, 1.0, 20.0, 0.0, 45.0, 0.0):
            await world.crash("nantes")
            await asyncio.sleep(pause)
            await world.start("nantes")
            await asyncio.sleep(25.0)
            assert not any(quarantined(world, p, "nantes") for p in PEERS)
        for other in PEERS:
            for body in list(world.network.link("nantes", other).requests):
                world.network.replay("nantes", other, body)
        await asyncio.sleep(120.0)
        assert not any(quarantined(world, p, "nantes") for p in PEERS)
        assert not any(e.kind == "quarantine" for p in SITES for e in world.running[p].agent.events)

    scenario(story)


def test_a_lineage_that_only_followed_another_does_not_overlap() -> None:
    heard = Lineages()
    heard.heard("old", 0, 0.0)  # mark 1
    heard.heard("old", 1, 1.0)  # mark 2
    heard.heard("new", 0, 2.0)  # mark 3
    heard.heard("new", 3, 3.0)
    heard.heard("old", 2, 4.0)  # late: it had mark 2, which was made before the new one was heard
    assert not heard.overlap()
    heard.heard("old", 4, 5.0)  # it had a mark that was made after that
    assert heard.overlap()


def test_a_directory_put_back_whole_is_noticed_by_peers() -> None:
    """The marker is as old as the database: the site cannot know, until a peer says that it has read further."""

    async def story(world: World) -> None:
        copy = world.disks["nantes"].backup()
        id = await l2(world)
        await world.until(everywhere(world, id))
        last = world.running["nantes"].agent.last
        await world.crash("nantes")
        world.disks["nantes"].put_back_whole(copy)
        await world.start("nantes")
        agent = world.running["nantes"].agent
        await world.until(lambda: agent.incarnation > last.incarnation and not agent.recovering, 60.0)
        assert held(world, "nantes", id) is not None
        await world.until(everywhere(world, id))
        assert agent.told_by == set(PEERS)

    scenario(story)


def test_a_directory_put_back_whole_gives_nothing_before_all_have_told() -> None:
    async def story(world: World) -> None:
        await world.net("nantes", "web", "10.3.0.0/24")
        copy = world.disks["nantes"].backup()
        id = await l2(world)
        await world.until(everywhere(world, id))
        await world.crash("nantes")
        world.disks["nantes"].put_back_whole(copy)
        world.cut("nantes", "rennes")
        await world.start("nantes")
        agent = world.running["nantes"].agent
        await world.until(lambda: agent.told_by == {"lyon"}, 60.0)
        with pytest.raises(Unavailable, match="waits for rennes"):
            await world.vpn("nantes", "new", "l2", "nantes:web", "lyon")
        # Nor does a restart end that.
        await world.crash("nantes")
        await world.start("nantes")
        assert world.running["nantes"].agent.recovering
        world.heal()
        await world.until(lambda: not world.running["nantes"].agent.recovering, 60.0)

    scenario(story)


def test_what_was_written_alone_in_places_given_before_is_read_by_all() -> None:
    """It went on alone, past all that its peers had read: no peer's cursor is beyond its last place any more."""

    async def story(world: World) -> None:
        copy = world.disks["nantes"].backup()
        id = await l2(world)
        await world.until(everywhere(world, id))
        before = world.running["nantes"].agent.last
        await world.crash("nantes")
        world.disks["nantes"].put_back_whole(copy)
        world.isolate("nantes")
        await world.start("nantes")
        agent = world.running["nantes"].agent
        await world.net("nantes", "web", "10.3.0.0/24")
        new = await world.vpn("nantes", "new", "l2", "nantes:web", "lyon", wait=0.0)
        for n in range(before.seq):
            await world.net("nantes", f"n{n}", f"10.{100 + n}.0.0/24")
        assert agent.last > before
        world.heal()
        await world.until(lambda: not agent.recovering and agent.incarnation > before.incarnation, 90.0)
        await world.until(lambda: held(world, "lyon", new) is not None, 60.0)
        await world.until(lambda: held(world, "lyon", new) == held(world, "nantes", new), 60.0)
        assert held(world, "nantes", id) is not None

    scenario(story)


def test_a_word_beyond_any_possible_place_begins_no_recovery() -> None:
    async def story(world: World) -> None:
        agent = world.running["nantes"].agent
        far = type(agent.last)(2**40, 1)
        assert not await agent.behind("lyon", far)
        assert not agent.recovering
        assert any(e.kind == "rejected" for e in agent.events)

    scenario(story)
