"""Rule 14, to its end: whose home answers is not adopted by mistake; what a former home wrote meanwhile is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from intertie.agent.yielded import LIFE, MOST, SPACE, shown, yielding
from intertie.model.errors import Conflict
from intertie.model.records import Record
from intertie.model.storage import LocalEntry
from intertie.model.views import SupersededView
from intertie.planning.change import adopted_vpn
from intertie.planning.table import Table
from intertie.testing.federation import OPERATOR, World, attachment
from tests.federation.test_life import everywhere, l2, scenario
from tests.unit.paper import Paper

MEMBERS = ("nantes:blue", "lyon", "rennes")


async def change(world: World, site: str, id: str, name: str, *members: str) -> None:
    wanted = [attachment(a) for a in members]
    await world.running[site].vpns.update(OPERATOR, id, name, wanted, "*", 5.0)


def lost_at(world: World, site: str, id: str) -> tuple[SupersededView, ...]:
    return world.running[site].vpns.get(OPERATOR, id).superseded


def owner(world: World, site: str, id: str) -> str:
    return world.running[site].vpns.get(OPERATOR, id).owner


def test_a_vpn_whose_home_answers_is_adopted_by_force_alone() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        lyon = world.running["lyon"]
        with pytest.raises(Conflict) as refused:
            await lyon.vpns.adopt(OPERATOR, id)
        assert refused.value.code == "owner-up"
        assert "--force" in refused.value.hint
        assert owner(world, "lyon", id) == "nantes"
        assert (await lyon.vpns.adopt(OPERATOR, id, force=True)).owner == "lyon"
        await world.until(lambda: {owner(world, s, id) for s in world.running} == {"lyon"})
        assert lost_at(world, "nantes", id) == (), "nothing was written that the adopter did not know"

    scenario(story)


def test_what_a_home_wrote_before_it_heard_of_its_loss_is_shown_there_and_can_be_asked_for_again() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        world.isolate("nantes")
        await change(world, "nantes", id, "mine", "nantes:blue", "rennes")
        await world.running["lyon"].vpns.adopt(OPERATOR, id)
        await change(world, "lyon", id, "theirs", *MEMBERS)
        world.heal()
        await world.until(lambda: owner(world, "nantes", id) == "lyon")
        (lost,) = lost_at(world, "nantes", id)
        assert lost.by == "lyon"
        assert "its name was mine" in lost.what
        assert "lyon was no member" in lost.what
        assert [(a.site, a.network) for a in lost.attachments] == [("nantes", "blue"), ("rennes", "")]
        told = [e for e in world.running["nantes"].agent.events if e.kind == "superseded"]
        assert [e.id for e in told] == [id]
        assert lost_at(world, "lyon", id) == ()
        await world.crash("nantes")
        await world.start("nantes")
        await world.until(lambda: owner(world, "nantes", id) == "lyon")
        assert [v.version for v in lost_at(world, "nantes", id)] == [lost.version], "it outlives the agent"
        await world.until(everywhere(world, id))
        await change(world, "nantes", id, "mine", *MEMBERS)
        await world.until(lambda: "name" not in "".join(v.what for v in lost_at(world, "nantes", id)))
        (left,) = lost_at(world, "nantes", id)
        assert left.what == "lyon was no member", "what was asked for again is no longer missing"

    scenario(story)


def test_an_end_that_nobody_heard_of_is_no_end_and_is_shown() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        world.isolate("nantes")
        await world.running["nantes"].vpns.delete(OPERATOR, id, force=True)
        await world.running["lyon"].vpns.adopt(OPERATOR, id)
        world.heal()
        await world.until(lambda: any(v.id == id for v in world.running["nantes"].vpns.all(OPERATOR)))
        (lost,) = lost_at(world, "nantes", id)
        assert (lost.ending, lost.what) == (True, "it was ending")
        seen = world.running["lyon"].vpns.get(OPERATOR, id).members
        # Its addresses it had let go: it says so, with what helps, and takes none of them back by itself.
        assert [m.answer for m in seen] == ["refused", "accepted", "accepted"]
        assert "add it again" in seen[0].hint

    scenario(story)


def test_of_two_who_adopt_at_once_one_yields_and_shows_it() -> None:
    async def story(world: World) -> None:
        id = await l2(world)
        await world.until(everywhere(world, id))
        world.isolate("nantes")
        world.isolate("lyon")
        await world.running["lyon"].vpns.adopt(OPERATOR, id)
        await world.running["rennes"].vpns.adopt(OPERATOR, id)
        await change(world, "lyon", id, "of-lyon", *MEMBERS)
        world.heal()
        await world.until(lambda: {owner(world, s, id) for s in world.running} == {"rennes"})
        (lost,) = lost_at(world, "lyon", id)
        assert (lost.by, lost.what) == ("rennes", "its name was of-lyon, not stretch")
        await world.until(everywhere(world, id))

    scenario(story)


# ── On paper ───────────────────────────────────────────────────────────────────────────────────────────────

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def crossing() -> tuple[Table, Record]:
    """nantes' table, in which it wrote on, and lyon's adoption that did not know that."""
    paper = Paper("nantes", "lyon")
    paper["nantes"].network("blue", "10.0.0.0/24")
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon")
    paper.settle()
    standing = paper["lyon"].table.get(id)
    assert standing is not None
    (adopted,) = paper["lyon"].write([adopted_vpn(paper["lyon"].table, standing)])
    paper.close(id)
    return paper["nantes"].table, adopted


def test_versions_that_yielded_are_a_bounded_number_and_not_for_ever() -> None:
    table, adopted = crossing()
    (one,) = yielding(table, {}, [adopted], NOW)
    assert one.space == SPACE
    old = {f"v{n} x": json.dumps({"at": (NOW + timedelta(minutes=n)).isoformat()}) for n in range(MOST)}
    later = NOW + timedelta(hours=2)
    assert yielding(table, old, [adopted], later)[0] == LocalEntry(SPACE, "v0 x", None), "the oldest goes"
    over = yielding(table, old, [adopted], NOW + LIFE + timedelta(minutes=10, seconds=1))
    assert sum(e.value is None for e in over) == 11
    assert one.value is not None
    table.apply(adopted)
    kept = {one.key: one.value}
    assert [v.what for v in shown(kept, adopted, NOW)] == ["it was ending"]
    assert shown(kept, adopted, NOW + LIFE + timedelta(seconds=1)) == ()
    assert yielding(table, {}, [adopted], NOW) == [], "it stands already"
