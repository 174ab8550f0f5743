"""One bad object never stops the others (CVE-2015-3221): a record that no rule was made for, an item that a driver
chokes on, a message with one of them, and every loop that meets them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from intertie.model.items import ItemKind, Key
from intertie.model.records import Kind, Order, Record
from intertie.planning import hearing
from intertie.testing.federation import OPERATOR, World
from tests.federation.test_life import everywhere, is_there, l2, scenario
from tests.unit.api_lab import Api, api_of

NAMES = ("nantes", "lyon")


def broken_vpn(world: World, site: str, id: str, name: str = "broken") -> str:
    """A copy of a Vpn at `site` whose members are of no shape that anybody reckons with."""
    table = world.running[site].agent.table
    good = table.get(id)
    assert good is not None
    bad = f"{good.home}.bad"
    body = replace(good.body, name=name, attachments=("no attachment",), vni=9)
    header = replace(good.header, id=bad, order=Order(0, "", 1, 0), home="lyon" if site == "nantes" else "nantes")
    table.apply(Record(header, body, b"", b""))
    return bad


async def followed(api: Api, token: str, seconds: float) -> str:
    """What a reader of the events hears within that time."""
    from intertie.agent.access import Caller
    from intertie.api.events import Feed

    caller: Caller = api.site.tokens.recognise(token)
    told = b""
    stream = Feed(api.services).open(caller, "0")
    try:
        async with asyncio.timeout(seconds):
            async for part in stream:
                told += part
    except TimeoutError:
        pass
    return told.decode()


def test_a_broken_record_costs_what_it_is_about_and_nothing_else() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon")
        await world.until(everywhere(world, id))
        before = world.running["nantes"].segments()
        bad = broken_vpn(world, "nantes", id)
        nantes = api_of(world.running["nantes"])
        await nantes.site.agent.settle()  # everything is looked at
        await world.net("nantes", "green", "10.9.0.0/24")
        await world.until(is_there(world, "nantes", "green"))
        other = await world.vpn("nantes", "second", "l2", "nantes:green", "lyon")
        await world.until(everywhere(world, other))
        assert [s for s in nantes.site.segments() if s.vpn == id] == before, "what forwards goes on"
        await nantes.site.vpns.delete(OPERATOR, other, wait=20)
        names = [v["name"] for v in (await nantes.get("/v1/vpns")).json()["items"]]
        assert names == ["stretch"]
        metrics = await nantes.get("/metrics")
        assert metrics.status_code == 200
        assert 'intertie_vpns{phase="ready"} 1.0' in metrics.text
        assert (await nantes.get("/v1/plan")).status_code == 200
        # A reader's stream goes on after an event of the bad one.
        nantes.site.agent.tell("vpn", bad, "lyon", "live")
        nantes.site.agent.tell("vpn", id, "nantes", "live")
        heard = await followed(nantes, await nantes.token("reader"), 3.0)
        assert id in heard
        told = [e for e in nantes.site.agent.events if e.kind == "failed" and e.id == bad]
        assert len(told) == 1, "it is told, and once"
        assert nantes.site.rounds.rounds > 3

    scenario(story, NAMES)


def test_a_segment_of_a_vpn_that_nobody_understands_any_more_is_kept() -> None:
    async def story(world: World) -> None:
        id = await l2(world, "lyon")
        await world.until(everywhere(world, id))
        nantes = world.running["nantes"]
        before = nantes.segments()
        record = nantes.agent.table.get(id)
        assert record is not None
        nantes.agent.table.apply(Record(record.header, replace(record.body, attachments=("none",)), b"", b""))
        seen = nantes.rounds.rounds
        await world.until(lambda: nantes.rounds.rounds > seen + 2)
        assert nantes.segments() == before
        assert len(world.systems["nantes"].bridges) == 1

    scenario(story, NAMES)


@pytest.mark.parametrize("error", [ValueError("no such thing"), KeyError("x"), RuntimeError()])
def test_an_item_that_its_driver_chokes_on_does_not_keep_the_others_waiting(error: Exception) -> None:
    async def story(world: World) -> None:
        await world.net("nantes", "aaa", "10.1.0.0/24")
        await world.until(is_there(world, "nantes", "aaa"))
        chokes = next(n.id for n in world.running["nantes"].agent.inventory.networks)

        async def choke(verb: str, k: Key | None) -> None:
            if verb == "ensure" and k is not None and k != (ItemKind.NETWORK, chokes) and not others:
                others.append(k)
            if verb == "ensure" and k is not None and others[:1] == [k]:
                raise error

        others: list[Key] = []
        world.systems["nantes"].hindrance = choke
        await world.net("nantes", "bad", "10.2.0.0/24")
        await world.net("nantes", "good", "10.3.0.0/24")
        await world.until(is_there(world, "nantes", "good"))
        nantes = world.running["nantes"]
        assert not is_there(world, "nantes", "bad")()
        assert any(e.kind == "failed" for e in nantes.agent.events)
        rounds = nantes.rounds.rounds
        await world.until(lambda: nantes.rounds.rounds > rounds + 2)

    scenario(story, ("nantes",))


def test_a_record_that_cannot_be_judged_keeps_no_other_of_its_peer_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = hearing.acceptable

    def stumbles(table: Any, peer: str, record: Record) -> str | None:
        if record.header.kind is Kind.VPN and record.body.name == "stretch":
            raise ZeroDivisionError
        return judged(table, peer, record)

    async def story(world: World) -> None:
        monkeypatch.setattr("intertie.agent.exchange.acceptable", stumbles)
        await world.net("nantes", "blue", "10.0.0.0/24")
        await world.net("nantes", "green", "10.9.0.0/24")
        await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon", wait=0.0)
        other = await world.vpn("nantes", "second", "l2", "nantes:green", "lyon")
        await world.until(everywhere(world, other))
        lyon = world.running["lyon"]
        assert [v.name for v in lyon.vpns.all(OPERATOR)] == ["second"]
        assert any("cannot be judged" in e.what for e in lyon.agent.events if e.kind == "rejected")

    scenario(story, NAMES)
