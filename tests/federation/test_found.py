"""What the simulator's oracle found in the product, each told once more as the shortest story (docs/found.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from intertie.model.bodies import AnswerBody, Range, Word
from intertie.model.errors import Conflict
from intertie.model.records import Record, State
from intertie.model.storage import StorageError
from intertie.planning.identity import answer_id
from intertie.planning.ranges import within
from intertie.testing.federation import OPERATOR, World, attachment
from tests.federation.test_life import SITES, everywhere, l2, scenario


def held(world: World, site: str, id: str) -> Record | None:
    """A record as the site's disk has it."""
    return world.disks[site].records().get(id)


def said(world: World, site: str, id: str) -> State | None:
    """The state of that record."""
    record = held(world, site, id)
    return record.header.state if record is not None else None


def live(world: World, site: str, id: str) -> bool:
    return said(world, site, id) is not State.WITHDRAWN


def test_two_sites_that_lose_their_databases_together_get_each_others_records_back() -> None:
    """What returns to a home lies below what it says meanwhile: who reads that as new would skip it for ever."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        for site in ("nantes", "lyon"):
            await world.crash(site)
            world.disks[site].lose()
        # The home speaks to lyon before rennes gives its records back.
        world.cut("nantes", "rennes")
        world.cut("lyon", "rennes")
        for site in ("nantes", "lyon"):
            await world.start(site)
        await asyncio.sleep(5.0)
        world.heal()
        await world.until(lambda: all(held(world, s, id) is not None for s in SITES))
        await world.until(everywhere(world, id))

    scenario(story)


def test_no_host_is_promised_on_a_network_that_no_record_explains() -> None:
    async def story(world: World) -> None:
        await world.net("lyon", "db", "10.2.0.0/24")
        await world.crash("lyon")
        world.disks["lyon"].lose()
        site = await world.start("lyon")
        await world.until(lambda: not site.agent.recovering)
        assert [n.name for n in site.networks.all(OPERATOR)] == ["db"], "it is kept, and shown"
        with pytest.raises(Conflict):
            await site.networks.create_host(OPERATOR, "web", "db")

    scenario(story)


def test_the_end_of_an_answer_reaches_whoever_was_told_of_the_answer() -> None:
    """A member leaves while another is out of reach; then the Vpn closes, which the one that left acknowledges."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await world.running["rennes"].networks.create_host(OPERATOR, "web", "blue")
        await world.until(lambda: bool(world.systems["rennes"].hosts))
        world.cut("lyon", "rennes")
        vpns = world.running["nantes"].vpns
        await vpns.update(OPERATOR, id, "", (attachment("nantes:blue"), attachment("rennes")), "*")
        await world.until(lambda: not live(world, "lyon", answer_id("lyon", id)))
        await vpns.delete(OPERATOR, id)
        await world.until(lambda: said(world, "lyon", id) is State.CLOSING)
        await asyncio.sleep(1.0)
        world.heal()
        await world.until(lambda: not live(world, "rennes", answer_id("lyon", id)))

    scenario(story)


def word(world: World, site: str, id: str) -> Word | None:
    """What the site itself says on a Vpn."""
    record = held(world, site, answer_id(site, id))
    return record.body.word if record is not None and isinstance(record.body, AnswerBody) else None


def test_a_member_that_lost_its_database_waits_for_all_where_the_record_speaks_of_its_yes() -> None:
    """Its home lost its database as well, so the yes came back to nobody but the third, which is out of reach."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        for site in ("nantes", "lyon"):
            await world.crash(site)
            world.disks[site].lose()
        world.cut("lyon", "rennes")
        for site in ("nantes", "lyon"):
            await world.start(site)
        await world.until(lambda: held(world, "lyon", id) is not None)
        await asyncio.sleep(20.0)
        assert word(world, "lyon", id) is None, "its mappings are lost: if it judged anew, it would refuse"
        world.heal()
        await world.until(lambda: word(world, "lyon", id) is Word.ACCEPTED)

    scenario(story)


def test_a_peer_that_goes_by_what_an_earlier_agent_had_back_has_not_told_all() -> None:
    """A site loses its database twice. Its home still thinks it had everything back, and calls before it is told."""

    async def story(world: World) -> None:
        id = await l2(world, "lyon")
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "lyon")))
        world.cut("lyon", "rennes")
        for _ in range(2):
            await world.crash("lyon")
            world.disks["lyon"].lose()
            site = await world.start("lyon")
            if world.reaches("lyon", "nantes"):
                await world.until(lambda: held(world, "lyon", answer_id("lyon", id)) is not None)
                await asyncio.sleep(15.0)  # a beat later nantes knows how far lyon has come
                world.cut("lyon", "nantes", back=False)
        await world.until(lambda: site.agent.peer("nantes").last_seen is not None, 60)
        world.heal()
        await world.until(lambda: not site.agent.recovering)
        assert word(world, "lyon", id) is Word.ACCEPTED
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "lyon")))

    scenario(story)


def test_a_recovery_that_ends_before_it_could_be_noted_begins_again() -> None:
    """The database is lost and the disk is full: an agent opens the store, and dies of the first write."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        await world.crash("lyon")
        world.disks["lyon"].lose()
        world.disks["lyon"].failures = 1
        with pytest.raises(StorageError):
            await world.boot("lyon")
        world.disks["lyon"].lose_power()
        site = await world.start("lyon")
        assert set(site.agent.pins()) == {"nantes", "rennes"}, "they are known from the file beside the keys"
        await world.until(lambda: not site.agent.recovering)
        await world.until(everywhere(world, id))
        for _ in range(2):
            await world.crash("lyon")
            assert not (await world.start("lyon")).agent.recovering, "once is enough"

    scenario(story)


def test_nobody_lets_go_of_a_vpn_for_which_a_host_is_promised() -> None:
    """A user is told of a host; before a slow cloud has made it, the Vpn whose network it is on closes."""

    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        world.days["lyon"].slow = 2.0
        await world.running["lyon"].networks.create_host(OPERATOR, "web", "blue")
        with pytest.raises(Conflict) as told:
            await world.running["nantes"].vpns.delete(OPERATOR, id, wait=20.0)
        assert told.value.code == "in-use"
        assert word(world, "lyon", id) is Word.HELD
        assert said(world, "nantes", id) is State.CLOSING

    scenario(story)


def ranges_of(world: World, site: str, id: str) -> tuple[Range, ...]:
    """What the site itself says that it holds."""
    record = held(world, site, answer_id(site, id))
    assert record is not None
    assert isinstance(record.body, AnswerBody)
    return record.body.ranges if record.live and record.body.word in (Word.ACCEPTED, Word.HELD) else ()


async def change(world: World, site: str, vpn: str, *members: str) -> None:
    await world.running[site].vpns.update(OPERATOR, vpn, "", tuple(attachment(m) for m in members), "*", 5.0)


def let_go(world: World, site: str, id: str) -> Callable[[], bool]:
    return lambda: not live(world, site, answer_id(site, id))


def test_who_adopts_a_vpn_without_having_heard_that_a_member_left_gives_its_range_to_nobody() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        world.isolate("rennes")
        await change(world, "nantes", id, "nantes:blue", "rennes")
        await world.until(let_go(world, "lyon", id))
        back = Range(first=ip_address("10.0.0.87"), last=ip_address("10.0.0.170"))
        await world.until(lambda: within(back.first, ranges_of(world, "nantes", id)))
        await world.running["rennes"].vpns.adopt(OPERATOR, id)
        world.mend("lyon", "rennes")
        await world.until(lambda: (r := held(world, "lyon", id)) is not None and r.home == "rennes")
        assert word(world, "lyon", id) is Word.REFUSED, "nantes holds by now what lyon held once"
        assert not ranges_of(world, "lyon", id)
        world.heal()
        await world.until(lambda: (r := held(world, "nantes", id)) is not None and r.home == "rennes")
        await change(world, "rennes", id, "nantes:blue", "rennes")
        await world.until(let_go(world, "lyon", id))
        await change(world, "rennes", id, "nantes:blue", "rennes", "lyon")
        await world.until(lambda: word(world, "lyon", id) is Word.ACCEPTED)
        assert not any(within(r.first, ranges_of(world, "nantes", id)) for r in ranges_of(world, "lyon", id))
        await world.until(everywhere(world, id))

    scenario(story)


def test_who_comes_back_to_a_vpn_waits_for_nobody_who_left_meanwhile() -> None:
    """Of those that left while it was away it never heard: their last word to it was a yes, with a range."""

    async def story(world: World) -> None:
        id = await l2(world, "lyon", "rennes", "nice")
        await world.until(everywhere(world, id))
        await change(world, "nantes", id, "nantes:blue", "lyon", "nice")
        await world.until(let_go(world, "rennes", id))
        theirs = ranges_of(world, "lyon", id)
        await change(world, "nantes", id, "nantes:blue", "nice")
        await world.until(let_go(world, "lyon", id))
        await world.until(lambda: within(theirs[0].first, ranges_of(world, "nantes", id)))
        await change(world, "nantes", id, "nantes:blue", "nice", "rennes")
        await world.until(lambda: word(world, "rennes", id) is Word.ACCEPTED)

    scenario(story, (*SITES, "nice"))


def test_an_adoption_by_a_member_that_was_added_out_of_ones_hearing_is_taken_on_the_old_homes_word() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon")
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "lyon")))
        world.isolate("lyon")
        await change(world, "nantes", id, "nantes:blue", "lyon", "rennes")
        await world.until(lambda: word(world, "rennes", id) is Word.ACCEPTED)
        await world.running["rennes"].vpns.adopt(OPERATOR, id, force=True)
        world.heal()
        await world.until(lambda: (r := held(world, "lyon", id)) is not None and r.home == "rennes")
        await world.until(everywhere(world, id))

    scenario(story)


def test_who_was_added_out_of_an_adopters_hearing_is_told_that_it_is_no_member() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "rennes")
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "rennes")))
        world.isolate("rennes")
        await change(world, "nantes", id, "nantes:blue", "rennes", "lyon")
        await world.until(lambda: word(world, "lyon", id) is Word.ACCEPTED)
        await world.running["rennes"].vpns.adopt(OPERATOR, id)
        world.heal()
        await world.until(let_go(world, "lyon", id))
        await world.until(lambda: not [s for s in world.running["lyon"].segments() if s.vpn == id])
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "rennes")))

    scenario(story)


def test_an_old_backup_alters_no_forwarding_before_the_peers_have_told_what_was_said_since() -> None:
    """The copy knows of an earlier membership, with another network; that one has ended, and a new one stands."""

    async def story(world: World) -> None:
        for n, name in enumerate(SITES):
            await world.net(name, "db", f"10.{n + 1}.0.0/24")
        await world.net("lyon", "web", "10.9.0.0/24")
        id = await world.vpn("nantes", "route", "l3", "nantes:db", "lyon:db", "rennes:db")
        await world.until(everywhere(world, id))
        copy = world.disks["lyon"].backup()
        await change(world, "nantes", id, "nantes:db", "rennes:db")
        await world.until(let_go(world, "lyon", id))
        await change(world, "nantes", id, "nantes:db", "rennes:db", "lyon:web")
        await world.until(everywhere(world, id))
        before = world.running["lyon"].segments()
        await world.crash("lyon")
        world.disks["lyon"].put_back(copy)
        world.isolate("lyon")
        site = await world.start("lyon")
        await asyncio.sleep(30.0)
        assert site.segments() == before
        world.heal()
        await world.until(lambda: not site.agent.recovering)
        await world.until(everywhere(world, id))
        assert [s.network for s in site.segments()] == [s.network for s in before]

    scenario(story)


def test_a_no_stands_for_the_version_that_it_was_said_of() -> None:
    """The home acts on a no at once, and takes the range back; the member must not say yes to that range later."""

    async def story(world: World) -> None:
        await world.net("nantes", "blue", "10.0.0.0/24")
        await world.net("lyon", "blue", "10.9.0.0/24")
        world.cut("lyon", "nantes", back=False)
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon", wait=0.0)
        await world.until(lambda: word(world, "lyon", id) is Word.REFUSED)
        await world.running["lyon"].networks.delete(OPERATOR, "blue")
        await asyncio.sleep(70.0)
        assert word(world, "lyon", id) is Word.REFUSED, "the name is free now, and the answer is on its way"
        world.heal()
        await world.until(lambda: said(world, "nantes", id) is State.WITHDRAWN)

    scenario(story)


def test_what_a_home_gave_out_of_an_adopters_hearing_it_does_not_take_back() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "rennes")
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in ("nantes", "rennes")))
        world.isolate("rennes")
        await change(world, "nantes", id, "nantes:blue", "rennes", "lyon")
        await world.until(lambda: word(world, "lyon", id) is Word.ACCEPTED)
        given = ranges_of(world, "lyon", id)
        await world.running["rennes"].vpns.adopt(OPERATOR, id)
        world.mend("nantes", "rennes")
        world.cut("nantes", "lyon")
        await world.until(lambda: (r := held(world, "nantes", id)) is not None and r.home == "rennes")
        await asyncio.sleep(5.0)
        assert ranges_of(world, "lyon", id) == given, "it has heard of nothing yet"
        assert not any(within(r.first, ranges_of(world, "nantes", id)) for r in given)

    scenario(story)
