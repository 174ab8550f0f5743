"""Laws of the called end: whatever a peer sends, it is heard or refused in declared words, and bends nobody else's.

A real agent is called in a simulated federation. nantes and lyon share the Vpn `blue`, nantes and metz share `green`.
What is sent to nantes comes from real messages, of which any part is replaced, doubled, left out or taken from
elsewhere: the records inside them too, which are then signed anew, since a peer may sign what it likes.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intertie.agent.exchange import Exchange
from intertie.model import wire
from intertie.model.codec import decode
from intertie.model.errors import IntertieError
from intertie.model.records import Cursor, Kind
from intertie.model.wire import Join
from intertie.planning.compile import compile_site
from intertie.testing.fake_ports import FakeKeys
from intertie.testing.federation import OPERATOR, Site, World
from intertie.testing.virtual_time import run
from tests.unit.test_laws_codec import trees

LIKELY = (
    *("nantes", "lyon", "metz", "brest", "nantes.site", "lyon.site", "vpn", "site", "grant", "answer", "proposal"),
    *("live", "closing", "withdrawn", "accepted", "drained", "l2", "l3", "all", "any", "demo", "vxlan", "update"),
    *("0.0.0.0/0", "10.0.0.0/24", "::/0", "10.0.0.1", "192.0.2.1:7576", "x\ny", "", "2030-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+23:59", 0, 1, -1, 2**31, 2**53, 2**62, 2**63 - 1, 2**64),
    *(1e308, -0.5, 1e-300, True, False, None),
)
values = st.sampled_from(LIKELY) | trees
mutations = st.tuples(
    st.integers(0, 9999),
    st.sampled_from(("put", "put", "drop", "double", "swap", "rename", "claim")),
    values,
    st.integers(0, 9999),
)
"""(which node, what is done to it, with what, with which other node)."""
spoilt = st.tuples(st.integers(0, 99), st.lists(mutations, min_size=1, max_size=4), st.booleans())
"""(which message, what is done to it, whether its records are signed anew)."""

MANY = max(settings().max_examples // 100, 1)
"""Times as many under the profile `soak`."""


def nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of every node below the root."""
    places = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in places:
        yield tree, key
        yield from nodes(value)


def mutate(tree: Any, changes: list[tuple[int, str, Any, int]]) -> Any:
    tree = deepcopy(tree)
    for where, what, value, other in changes:
        places = list(nodes(tree))
        if not places:
            return value
        holder, key = places[where % len(places)]
        elsewhere, there = places[other % len(places)]
        if what == "put":
            holder[key] = deepcopy(value)
        elif what == "swap":
            holder[key] = deepcopy(elsewhere[there])
        elif what == "drop":
            del holder[key]
        elif what == "claim":
            # All of this part is said of, and in the name of, another.
            holder[key] = json.loads(json.dumps(holder[key]).replace("lyon", ("metz", "nantes")[other % 2]))
        elif isinstance(holder, list):
            holder.insert(key, deepcopy(holder[key]))
        elif what == "rename":
            holder[str(value)] = holder.pop(key)
    return tree


def opened(raw: bytes) -> Any:
    """The message as a tree, its records too."""
    tree = json.loads(raw)
    for place in ("records", "returned"):
        tree[place] = [{**item, "record": json.loads(item["record"])} for item in tree[place]]
    return tree


def closed(tree: Any, keys: FakeKeys | None, news: int = 0) -> bytes:
    """The tree as a message; with keys, its records signed by them, and so much newer than they were."""
    if isinstance(tree, dict):
        for place in ("records", "returned"):
            items = tree.get(place)
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and isinstance(item.get("record"), dict | list):
                    with suppress(KeyError, TypeError):
                        item["record"]["header"]["seq"] += news
                    text = json.dumps(item["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
                    item["record"] = text
                    if keys is not None:
                        item["signature"] = b64encode(keys.sign(text.encode(errors="replace"))).decode()
    return json.dumps(tree).encode()


@dataclass
class Stage:
    world: World
    heard: list[tuple[str | None, bytes]]
    """Every call that nantes has answered: by whom, what."""

    @property
    def nantes(self) -> Site:
        return self.world.running["nantes"]

    def records(self) -> dict[str, tuple[str, str]]:
        """Everything that nantes holds: id → (home, digest)."""
        table = self.nantes.agent.table
        return {r.id: (r.home, r.digest) for kind in Kind for r in table.all_of(kind)}

    def green(self) -> Any:
        """What nantes shares with metz, as it is shown and as it is built."""
        agent = self.nantes.agent
        vpn = next(r for r, b in agent.table.vpns() if b.name == "green")
        shown = self.nantes.vpns.get(OPERATOR, vpn.id)
        built = [item for item in compile_site(agent.table) if getattr(item, "vpn", "") == vpn.id]
        # Not its phase: packets have a part in that, and time may pass in which none cross.
        return [(m.site, m.answer, m.reason, m.network, m.ranges) for m in shown.members], built

    async def say(self, caller: str | None, raw: bytes) -> bool:
        """Call nantes; whether it listened. Anything but a declared error, or a reply that cannot be read, fails."""
        try:
            reply = await self.nantes.exchange.handle(caller, raw)
        except IntertieError:
            return False
        message, faults = wire.decode(reply, decode)
        assert not faults
        assert message.sender == "nantes"
        assert all(r.home == "nantes" for r in message.records)
        assert all(r.home == caller for r in message.returned)
        return True

    async def check(self, before: dict[str, tuple[str, str]], caller: str | None) -> None:
        """I16: of others' records none is altered; what nantes holds can be read again, and is its home's."""
        after = self.records()
        changed = {id for id in before.keys() | after.keys() if before.get(id) != after.get(id)}
        homes = {(after.get(id) or before[id])[0] for id in changed}
        assert homes <= {"nantes", caller}, homes
        table = self.nantes.agent.table
        for record in (table.get(id) for id in changed & after.keys()):
            assert record is not None
            assert decode(record.raw, record.signature).body == record.body
            assert FakeKeys(record.home, self.world.secrets).verify_own(record)


async def staged() -> Stage:
    world = World()
    heard: list[tuple[str | None, bytes]] = []
    stage = Stage(world, heard)
    plain = Exchange.handle

    async def listening(self: Exchange, caller: str | None, request: bytes) -> bytes:
        if self.agent.site == "nantes":
            heard.append((caller, request))
        return await plain(self, caller, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exchange, "handle", listening)
        for name in ("nantes", "lyon", "metz"):
            await world.site(name)
        await world.enrol("nantes", "lyon", "metz")
        await world.net("nantes", "blue", "10.0.0.0/24")
        await world.net("nantes", "green", "10.1.0.0/24")
        await world.net("nantes", "west", "10.2.0.0/24")
        await world.net("lyon", "east", "10.3.0.0/24")
        blue = await world.vpn("nantes", "blue", "l2", "nantes:blue", "lyon")
        green = await world.vpn("nantes", "green", "l2", "nantes:green", "metz")
        await world.vpn("lyon", "far", "l3", "lyon:east", "nantes:west")
        await world.until(lambda: world.phase("nantes", blue) == world.phase("nantes", green) == "ready")
        await world.running["lyon"].networks.create_host(OPERATOR, "there", "blue")
        change = world.running["lyon"].vpns
        members = tuple(replace(a, prefixes=()) for a in stage.nantes.agent.table.get(blue).body.attachments)  # type: ignore[union-attr]
        await change.update(OPERATOR, blue, "azure", members, "*", 10.0)
        await asyncio.sleep(30.0)
    world.isolate("nantes")
    return stage


def said_by_lyon(stage: Stage) -> list[Any]:
    """Real messages of lyon's, opened: what it said, all it has to say, and what it could ask."""
    lyon = stage.world.running["lyon"]
    whole = lyon.exchange.compose("nantes", Cursor())
    ours = next(r for r, b in stage.nantes.agent.table.vpns() if b.name == "azure")
    asking = replace(whole, verify=(ours.id,), wait=1.0, recover=True)
    given_back = replace(whole, returned=tuple(stage.nantes.agent.table.mine_since(Cursor())), returns=True)
    joining = replace(whole, join=Join(name="lyon", secret="guess"))
    real = [raw for caller, raw in stage.heard if caller == "lyon" and b'"record":' in raw]
    return [opened(raw) for raw in (*map(wire.encode, (whole, asking, given_back, joining)), *real[:20])]


def story(messages: list[tuple[int, list[Any], bool]], caller: str | None) -> None:
    """Say all this to nantes, one after the other."""

    async def main() -> None:
        stage = await staged()
        keys = FakeKeys("lyon", stage.world.secrets)
        real = said_by_lyon(stage)
        green = stage.green()
        for n, (which, changes, signed) in enumerate(messages):
            before = stage.records()
            raw = closed(mutate(real[which % len(real)], changes), keys if signed else None, signed * 1000 * (n + 1))
            listened = await stage.say(caller, raw)
            if not listened:
                assert stage.records() == before
            await stage.check(before, caller)
            assert stage.green() == green
        # A round and an audit over whatever was taken; and nantes goes on listening to others.
        await asyncio.sleep(120.0)
        metz = stage.world.running["metz"]
        assert await stage.say("metz", wire.encode(metz.exchange.compose("nantes", Cursor())))
        await stage.world.close()

    run(main())


@settings(max_examples=40 * MANY)
@given(st.lists(spoilt, min_size=8, max_size=25))
def test_whatever_a_pinned_peer_says_bends_nothing_of_others(messages: list[tuple[int, list[Any], bool]]) -> None:
    story(messages, "lyon")


@settings(max_examples=15 * MANY)
@given(st.lists(spoilt, min_size=1, max_size=25), st.sampled_from([None, "mallory", "nantes"]))
def test_whatever_a_stranger_says_changes_nothing(
    messages: list[tuple[int, list[Any], bool]], caller: str | None
) -> None:
    async def main() -> None:
        stage = await staged()
        before, events = stage.records(), stage.nantes.agent.events[-1]
        real = said_by_lyon(stage)
        for which, changes, _ in messages:
            assert not await stage.say(caller, closed(mutate(real[which % len(real)], changes), None))
        assert stage.records() == before
        assert stage.nantes.agent.events[-1] == events
        await stage.world.close()

    run(main())


rubbish = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(str.encode),
    trees.map(lambda tree: json.dumps(tree).encode()),
    st.tuples(st.integers(0, 99), st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), max_size=5)),
)
"""Octets; or a real message of which some octets are others."""


@settings(max_examples=15 * MANY)
@given(st.lists(rubbish, min_size=1, max_size=60), st.sampled_from([None, "lyon", "mallory"]))
@example([b"", b"{", b"\xff", b"[]", b"null", b'{"from":"lyon"}', b'{"from":"lyon","incarnation":1e3}'], "lyon")
def test_after_rubbish_the_table_is_as_it_was(said: list[Any], caller: str | None) -> None:
    async def main() -> None:
        stage = await staged()
        real = [raw for _, raw in stage.heard]
        before = stage.records()
        for one in said:
            raw = one
            if isinstance(one, tuple):
                octets = bytearray(real[one[0] % len(real)])
                for at, new in one[1]:
                    octets[at % len(octets) : at % len(octets) + len(new)] = new
                raw = bytes(octets)
            await stage.say(caller, raw)
            # What was heard in spite of it was said before, or has no good signature.
            assert stage.records() == before
        await stage.world.close()

    run(main())


@settings(max_examples=25 * MANY)
@given(st.lists(st.integers(0, 9999), min_size=1, max_size=60))
def test_replaying_messages_changes_nothing(order: list[int]) -> None:
    """I13: in any order, as often as one likes."""

    async def main() -> None:
        stage = await staged()
        agent = stage.nantes.agent
        assert len(stage.heard) > 12
        before, cursors, trusted = stage.records(), dict(agent.cursors), set(agent.pins())
        for which in order:
            await stage.say(*stage.heard[which % len(stage.heard)])
            assert stage.records() == before
        assert agent.cursors == cursors
        assert set(agent.pins()) == trusted
        await asyncio.sleep(120.0)
        assert stage.records() == before
        await stage.world.close()

    run(main())
