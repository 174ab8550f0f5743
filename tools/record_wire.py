"""What this version writes, kept for ever: `python tools/record_wire.py` records tests/fixtures/wire/VERSION anew.

A federation of real agents with real keys lives through a small story (in virtual time); kept is what they said to
one another and what they stored. A version that was released is never recorded again: every later one must read it
(tests/contract/test_wire_fixtures.py).

    roots.json      site → root certificate (base64)
    records.txt     a line a record: signature (base64), space, the signed bytes
    messages.txt    a line a message of the peer call, request or reply; one of each shape that occurred
    invitation.txt  a token, as `site invite` prints it
    store.sql       the store of one site
    expected.json   what this version read in them
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from intertie import __version__  # noqa: E402
from intertie.agent.agent import Settings  # noqa: E402
from intertie.agent.causes import Cause, because  # noqa: E402
from intertie.federation import invitation, keys  # noqa: E402
from intertie.model import wire  # noqa: E402
from intertie.model.bodies import AnswerBody  # noqa: E402
from intertie.model.codec import decode, plain  # noqa: E402
from intertie.model.records import Kind, Record  # noqa: E402
from intertie.model.storage import Batch, Committed, LocalEntry  # noqa: E402
from intertie.store.sqlite import SqliteStore  # noqa: E402
from intertie.testing.federation import OPERATOR, Place, Site, World, attachment  # noqa: E402
from intertie.testing.simulated_network import SimulatedCalls  # noqa: E402
from intertie.testing.virtual_time import Process, run  # noqa: E402
from intertie.wiring import InvitationTokens, SiteKeys  # noqa: E402

FIXTURES = ROOT / "tests" / "fixtures" / "wire"
STORE_OF = "nantes"
ASKED = Cause("recorded-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
"""The user's request behind it all."""


# ── How it is compared ─────────────────────────────────────────────────────────────────────────────────────


def record_view(record: Record) -> dict[str, Any]:
    """All that is read in a record, as JSON has it."""
    return {"header": plain(record.header), "body": plain(record.body), "digest": record.digest}


def message_view(raw: bytes) -> dict[str, Any]:
    """All that is read in a message; its records by id."""
    message, faults = wire.decode(raw, decode)
    found = {
        f.name: plain(getattr(message, f.name)) for f in fields(message) if f.name not in ("records", "returned")
    }
    return {
        **found,
        "records": [r.id for r in message.records],
        "returned": [r.id for r in message.returned],
        "faults": list(faults),
    }


def token_view(text: str) -> dict[str, Any]:
    token = invitation.parse(text)
    return {
        "inviter": token.inviter,
        "invited": token.invited,
        "address": token.address,
        "public_key": token.public_key.hex(),
        "secret": token.secret.hex(),
    }


# ── The story ──────────────────────────────────────────────────────────────────────────────────────────────


class Signing(World):
    """A world whose sites have real keys and invitations; what they say is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(seed=1, settings=Settings(name="", version=__version__))
        self.heard: list[bytes] = []
        self.roots: dict[str, keys.RootKey] = {}
        self._folder = folder

    def _compose(
        self, process: Process, place: Place, calls: SimulatedCalls, wrote: Callable[[Committed], None]
    ) -> Site:
        site, name = super()._compose(process, place, calls, wrote), process.name
        if name not in self.roots:
            self.roots[name] = keys.create(self._folder / name, name)
        site.agent.ports = replace(site.agent.ports, keys=SiteKeys(self.roots[name]))
        site.enrolment._invitations = InvitationTokens(self.roots[name])
        handle = site.exchange.handle

        async def kept(caller: str | None, request: bytes) -> bytes:
            reply = await handle(caller, request)
            self.heard += [request, reply]
            return reply

        site.exchange.handle = kept  # type: ignore[method-assign]
        return site


async def live(world: Signing) -> str:
    """One record of every kind, ended ones too, and messages of every shape; an invitation that nobody used."""
    for name in ("nantes", "lyon", "rennes"):
        await world.site(name)
    await world.site("metz", reachable=False)
    await world.enrol("nantes", "lyon", "rennes", "metz")
    await world.net("nantes", "blue", "10.0.0.0/24", "2001:db8:1::/64")
    for number, name in enumerate(("nantes", "lyon", "rennes")):
        await world.net(name, "db", f"10.{number + 1}.0.0/24")
    stretch = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon", "rennes")
    route = await world.vpn("lyon", "route", "l3", *(f"{site}:db" for site in ("lyon", "nantes", "rennes")))
    await world.until(
        lambda: all(world.phase(s, v) == "ready" for s in ("nantes", "rennes") for v in (stretch, route))
    )
    nantes, rennes = world.running["nantes"], world.running["rennes"]
    await nantes.networks.create_host(OPERATOR, "web", "blue", ())
    await rennes.networks.create_host(OPERATOR, "app", "blue", ())
    await nantes.vpns.verify(OPERATOR, stretch)
    members = ("nantes:blue", "lyon", "rennes")
    await rennes.vpns.update(OPERATOR, stretch, "wide", [attachment(m) for m in members], "*", 5.0)
    await world.running["lyon"].vpns.delete(OPERATOR, route, wait=5.0)
    await world.crash("rennes")
    world.disks["rennes"].lose()
    rennes = await world.start("rennes")
    await world.until(lambda: not rennes.agent.recovering)
    await nantes.enrolment.forget("metz")
    await world.until(lambda: _heard_of(world, "lyon", Kind.FORGOTTEN))
    token, _ = await nantes.enrolment.invite("brest")
    return token


def _heard_of(world: World, site: str, kind: Kind) -> bool:
    return any(True for _ in world.running[site].agent.table.all_of(kind))


# ── What is kept of it ─────────────────────────────────────────────────────────────────────────────────────


def chosen_records(world: Signing) -> list[Record]:
    """One of each kind, state and word: of what stands at the site that wrote it, and of what was said meanwhile."""
    found: dict[tuple[str, ...], Record] = {}
    said = [record for raw in world.heard for record in wire.decode(raw, decode)[0].records]
    standing = [r for site in world.running.values() for kind in Kind for r in site.agent.table.all_of(kind)]
    for record in (*sorted(standing, key=lambda r: r.id), *said):
        word = record.body.word.value if isinstance(record.body, AnswerBody) else ""
        found.setdefault((record.header.kind.value, record.header.state.value, word), record)
    missing = set(Kind) - {Kind(kind) for kind, *_ in found}
    assert not missing, f"the story wrote no {missing}"
    return list(found.values())


def chosen_messages(heard: Iterable[bytes]) -> list[bytes]:
    """The first of each shape: which fields say something."""
    found: dict[tuple[str, ...], bytes] = {}
    for raw in heard:
        said = json.loads(raw)
        inner = [f"volatile.{key}" for key, value in said["volatile"].items() if value]
        found.setdefault((*sorted(key for key, value in said.items() if value), *inner), raw)
    return list(found.values())


async def dump(site: Site, folder: Path) -> str:
    """The site's store as SQLite writes it."""
    path = folder / "store.db"
    agent = site.agent
    store = SqliteStore(path, site=site.name, decode=decode)
    await store.open(agent.incarnation)
    await store.commit(
        Batch(
            peers=tuple(r for kind in Kind for r in agent.table.all_of(kind)),
            cursors=dict(agent.cursors),
            acked=dict(agent.acked),
            local=tuple(LocalEntry(s, k, v) for s, entries in agent.local.items() for k, v in entries.items()),
        ),
        agent._seal,
    )
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def record(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        world = Signing(folder)

        async def main() -> tuple[str, list[Record], Site]:
            try:
                with because(ASKED):
                    token = await live(world)
                return token, chosen_records(world), world.running[STORE_OF]
            finally:
                await world.close()

        token, records, site = run(main())
        messages = chosen_messages(world.heard)
        sql = asyncio.run(dump(site, folder))
        roots = {name: b64encode(key.root.der).decode() for name, key in sorted(world.roots.items())}
    target.mkdir(parents=True, exist_ok=True)
    lines = [b64encode(r.signature) + b" " + r.raw + b"\n" for r in records]
    (target / "records.txt").write_bytes(b"".join(lines))
    (target / "messages.txt").write_bytes(b"".join(raw + b"\n" for raw in messages))
    (target / "invitation.txt").write_text(token + "\n")
    (target / "store.sql").write_text(sql)
    (target / "roots.json").write_text(json.dumps(roots, indent=1) + "\n")
    expected = {
        "records": [record_view(r) for r in records],
        "messages": [message_view(raw) for raw in messages],
        "invitation": token_view(token),
        "store_of": STORE_OF,
    }
    (target / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(f"{target.relative_to(ROOT)}: {len(records)} records, {len(messages)} messages")


if __name__ == "__main__":
    record(FIXTURES / __version__)
