"""`waves`: round trips that operations take, in simulated time, where nothing but the way between sites takes any:
every row of the federation's table of waves (ARCHITECTURE.md: one wave is one round trip to the slowest member).

*Decided*: the home knows the outcome. *Done*: every data plane is as it is to be, or everybody holds the new version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.figures import Figure
from bench.loopback import everybody
from bench.own_cores import Federation, Moments
from intertie.model.bodies import Word
from intertie.planning.change import VpnKind, VpnRequest
from intertie.testing.federation import OPERATOR, Site
from intertie.testing.virtual_time import run as virtually

RTT = 0.2
LONGEST = 30.0
SITES = {"full": 5, "tiny": 3}
SLACK = 0.02
"""Round trips that looking every half millisecond may add."""

Does = Callable[[], Coroutine[Any, Any, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An operation, and the round trips that the rule gives it."""

    what: str
    decided: float
    done: float


class Waves:
    """Does one operation after the other, and notes when each was decided and done."""

    def __init__(self, world: Federation) -> None:
        self.world = world
        self.sites = world.running
        self.figures: list[Figure] = []

    @property
    def home(self) -> Site:
        return self.sites["s1"]

    async def row(self, row: Row, does: Does, decided: Callable[[], bool], done: Callable[[], bool]) -> None:
        """`does` is begun as the process of the site where the user asks."""
        begun = self.home.process.spawn(does())
        found = await Moments(decided=decided, done=done).watch(LONGEST)
        await begun
        for word, rule in (("decided", row.decided), ("done", row.done)):
            took = found.get(word, float("inf")) / RTT
            self.figures.append(
                Figure(
                    what=f"{row.what}: {word}",
                    ours=round(took, 2),
                    unit="RTT",
                    aim=f"≤ {rule:g}",
                    met=took <= rule + SLACK,
                )
            )
        await self.world.quiet()
        await asyncio.sleep(5.0)

    # ── What is looked at ──────────────────────────────────────────────────────────────────────────────────

    def words(self, vpn: str) -> dict[str, Word]:
        """What the home has heard."""
        return {site: answer.word for site, answer in self.home.agent.table.answers(vpn).items()}

    def joined(self, vpn: str, names: set[str]) -> bool:
        """Whether each of these, and nobody else, carries the Vpn to each other, with its prefixes if it is routed."""
        return all(
            self._reaches(site, vpn) == (names - {name} if name in names else set())
            for name, site in self.sites.items()
        )

    def _reaches(self, site: Site, vpn: str) -> set[str]:
        return {
            remote.site
            for segment in site.segments()
            if segment.vpn == vpn
            for remote in segment.remotes
            if remote.prefixes or segment.kind is VpnKind.L2
        }

    def named(self, vpn: str, name: str) -> bool:
        """Whether every site holds the Vpn by that name."""
        found = [site.agent.table.get(vpn) for site in self.sites.values()]
        return all(record is not None and record.body.name == name for record in found)


async def _all(count: int) -> list[Figure]:
    with TemporaryDirectory() as folder:
        world = Federation(Path(folder))
        await world.found(count)
        world.network.delay = RTT / 2
        waves = Waves(world)
        for kind, done in (("l2", 1.0), ("l3", 2.0)):
            await _life(waves, kind, done)
        await _local(waves)
        await world.close()
        return waves.figures


async def _life(waves: Waves, kind: str, done: float) -> None:
    """A Vpn of the kind is made, changed here and from elsewhere, made smaller and larger, and deleted."""
    everyone, vpns, made = set(waves.sites), waves.home.vpns, {}
    attachments = everybody(waves.sites, kind)

    def id() -> str:
        return next((r.id for r, _ in waves.home.agent.table.vpns()), "")

    def all_say(word: Word, names: set[str]) -> bool:
        return bool(id()) and all(waves.words(id()).get(n) is word for n in names)

    request = VpnRequest(name="v", kind=VpnKind(kind), attachments=attachments)
    where = "prefixes only at members" if kind == "l3" else "a network is stretched"
    await waves.row(
        Row(what=f"{kind} create, {where}", decided=1, done=done),
        lambda: vpns.create(OPERATOR, request),
        lambda: all_say(Word.ACCEPTED, everyone),
        lambda: bool(id()) and waves.joined(id(), everyone),
    )
    vpn, last = id(), sorted(everyone)[-1]
    made["id"] = vpn

    def change(at: str, name: str, names: set[str]) -> Awaitable[object]:
        kept = tuple(a for a in attachments if a.site in names)
        return waves.sites[at].vpns.update(OPERATOR, vpn, name, kept, "*", 20.0)

    def renamed(at: str, name: str) -> Does:
        async def does() -> None:
            await waves.sites[at].process.spawn(_of(change(at, name, everyone)))

        return does

    await waves.row(
        Row(what=f"{kind} change of name", decided=1, done=1),
        renamed("s1", "w"),
        lambda: waves.home.agent.table.get(vpn).body.name == "w",  # type: ignore[union-attr]
        lambda: waves.named(vpn, "w"),
    )
    await waves.row(
        Row(what=f"{kind} change of name, asked for elsewhere", decided=2, done=2),
        renamed("s2", "x"),
        lambda: waves.home.agent.table.get(vpn).body.name == "x",  # type: ignore[union-attr]
        lambda: waves.named(vpn, "x"),
    )
    await waves.row(
        Row(what=f"{kind} remove a member", decided=1, done=2),
        lambda: _of(change("s1", "x", everyone - {last})),
        lambda: waves.words(vpn).get(last) in (Word.DRAINED, None),
        lambda: waves.joined(vpn, everyone - {last}),
    )
    await waves.row(
        Row(what=f"{kind} add a member", decided=1, done=done),
        lambda: _of(change("s1", "x", everyone)),
        lambda: all_say(Word.ACCEPTED, {last}),
        lambda: waves.joined(vpn, everyone),
    )
    await waves.row(
        Row(what=f"{kind} delete", decided=1, done=2),
        lambda: vpns.delete(OPERATOR, vpn, wait=20.0),
        lambda: not waves.home.agent.table.get(vpn).live,  # type: ignore[union-attr]
        lambda: waves.joined(vpn, set()),
    )


async def _of(awaited: Awaitable[object]) -> object:
    return await awaited


async def _local(waves: Waves) -> None:
    def there() -> bool:
        return any(n.name == "local" for n in waves.home.agent.inventory.networks)

    await waves.row(
        Row(what="a network of the site's own", decided=0, done=0),
        lambda: waves.home.networks.create(OPERATOR, "local", [ip_network("10.250.0.0/24")]),
        there,
        there,
    )


def run(size: str) -> list[Figure]:
    return virtually(_all(SITES[size]))
