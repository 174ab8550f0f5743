"""`waves`: round trips that operations take, in simulated time, where nothing but the way between sites takes any:
every row of the federation's table of waves (ARCHITECTURE.md: one wave is one round trip to the slowest member).

*Decided*: the home knows the outcome. *Done*: every data plane is as it is to be, or everybody holds the new version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.figures import Figure
from bench.loopback import everybody
from bench.own_cores import Federation, Moments
from intertie.model.bodies import Attachment, VpnKind, Word
from intertie.model.views import VpnRequest
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
        """Whether each of these, and nobody else, carries the Vpn to each other (routed: with its prefixes)."""
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

    def holds(self, site: Site, vpn: str, name: str) -> bool:
        """Whether the site holds the Vpn by that name."""
        record = site.agent.table.get(vpn)
        return record is not None and record.body.name == name


async def _all(count: int) -> list[Figure]:
    with TemporaryDirectory() as folder:
        world = Federation(Path(folder))
        await world.found(count)
        world.network.delay = RTT / 2
        waves = Waves(world)
        for kind in VpnKind:
            await _life(waves, kind)
        await _local(waves)
        await world.close()
        return waves.figures


class Life:
    """A Vpn is made, changed here and from elsewhere, made smaller and larger, and deleted."""

    def __init__(self, waves: Waves, kind: VpnKind) -> None:
        self.waves = waves
        self.kind = kind
        self.everyone = set(waves.sites)
        self.last = sorted(waves.sites)[-1]
        self.attachments = everybody(waves.sites, kind.value)
        self.done = 1.0 if kind is VpnKind.L2 else 2.0
        """Waves until prefixes that only members know are routed everywhere."""

    @property
    def vpn(self) -> str:
        return next((r.id for r, _ in self.waves.home.agent.table.vpns()), "")

    def says(self, names: set[str]) -> bool:
        """Whether these have said yes, as the home has heard."""
        words = self.waves.words(self.vpn)
        return bool(words) and all(words.get(n) is Word.ACCEPTED for n in names)

    def _kept(self, names: set[str]) -> tuple[Attachment, ...]:
        return tuple(a for a in self.attachments if a.site in names)

    def change(self, at: str, name: str, names: set[str]) -> Does:
        site, vpn = self.waves.sites[at], self.vpn
        return lambda: _as(site, site.vpns.update(OPERATOR, vpn, name, self._kept(names), "*", 20.0))

    async def made(self) -> None:
        request = VpnRequest(name="v", kind=self.kind, attachments=self.attachments)
        where = "a network is stretched" if self.kind is VpnKind.L2 else "prefixes only at members"
        await self.waves.row(
            Row(what=f"{self.kind.value} create, {where}", decided=1, done=self.done),
            lambda: self.waves.home.vpns.create(OPERATOR, request),
            lambda: self.says(self.everyone),
            lambda: bool(self.vpn) and self.waves.joined(self.vpn, self.everyone),
        )

    async def renamed(self, at: str, name: str, more: str, waves: float) -> None:
        vpn = self.vpn
        await self.waves.row(
            Row(what=f"{self.kind.value} change of name{more}", decided=waves, done=waves),
            self.change(at, name, self.everyone),
            lambda: self.waves.holds(self.waves.home, vpn, name),
            lambda: all(self.waves.holds(site, vpn, name) for site in self.waves.sites.values()),
        )

    async def smaller_and_larger(self) -> None:
        vpn, left = self.vpn, self.everyone - {self.last}
        await self.waves.row(
            Row(what=f"{self.kind.value} remove a member", decided=1, done=2),
            self.change("s1", "x", left),
            lambda: self.waves.words(vpn).get(self.last) in (Word.DRAINED, None),
            lambda: self.waves.joined(vpn, left),
        )
        await self.waves.row(
            Row(what=f"{self.kind.value} add a member", decided=1, done=self.done),
            self.change("s1", "x", self.everyone),
            lambda: self.says({self.last}),
            lambda: self.waves.joined(vpn, self.everyone),
        )

    async def deleted(self) -> None:
        vpn = self.vpn
        await self.waves.row(
            Row(what=f"{self.kind.value} delete", decided=1, done=2),
            lambda: self.waves.home.vpns.delete(OPERATOR, vpn, wait=20.0),
            lambda: not self.vpn,
            lambda: self.waves.joined(vpn, set()),
        )


async def _life(waves: Waves, kind: VpnKind) -> None:
    life = Life(waves, kind)
    await life.made()
    await life.renamed("s1", "w", "", 1)
    await life.renamed("s2", "x", ", asked for elsewhere", 2)
    await life.smaller_and_larger()
    await life.deleted()


async def _as(site: Site, work: Coroutine[Any, Any, object]) -> object:
    """Do it as that site's process."""
    return await site.process.spawn(work)


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
