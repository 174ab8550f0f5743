"""What is wrong, seen from where the user stands, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from tests.federation.partitions.lab import FIVE, HOME, MEMBER, PEER, THREE, Lab

ENDLESS = 10**9
SKEW = timedelta(minutes=50)
"""More than the ten minutes of a proposal, less than the half day that certificates allow for (test_clock.py)."""


class Place(Enum):
    """Where the user stands who asks for something."""

    HOME = "at the home of the Vpn"
    MEMBER = "at another member"
    ANY = "at any site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    id: str
    title: str
    words: str
    """What it means, for the page."""
    strike: Callable[[Lab, str], Awaitable[None]]
    """It happens; the second is the peer that an operation is about."""
    heal: Callable[[Lab, str], Awaitable[None]] | None
    """It ends. None: it does not by itself."""
    sites: tuple[str, ...] = THREE
    home: bool = True
    """Whether a user can stand at the home of the Vpn: not where that is what is silent."""

    def stand(self, place: Place) -> str | None:
        """The site at which the user stands; None: there is no such cell."""
        if place is Place.MEMBER or (place is Place.ANY and not self.home):
            return MEMBER
        return HOME if self.home else None


async def _kill_peer(lab: Lab, peer: str) -> None:
    await lab.world.crash(peer)


async def _start_peer(lab: Lab, peer: str) -> None:
    await lab.world.start(peer)


async def _kill_home(lab: Lab, peer: str) -> None:
    await lab.world.crash(HOME)


async def _start_home(lab: Lab, peer: str) -> None:
    await lab.world.start(HOME)


async def _cut_majority(lab: Lab, peer: str) -> None:
    for name in (PEER, "brest", "quimper"):
        lab.world.isolate(name)


async def _isolate(lab: Lab, peer: str) -> None:
    lab.world.isolate(lab.here)


async def _heal(lab: Lab, peer: str) -> None:
    lab.world.heal()


async def _fill_disk(lab: Lab, peer: str) -> None:
    lab.world.disks[lab.here].failures = ENDLESS


async def _empty_disk(lab: Lab, peer: str) -> None:
    lab.world.disks[lab.here].failures = 0


def skewed(by: timedelta) -> Callable[[Lab, str], Awaitable[None]]:
    """Somebody sets the clock of the user's site wrong, or right again."""

    async def set_clock(lab: Lab, peer: str) -> None:
        lab.world.skews[lab.here] = by

    return set_clock


async def _restore(lab: Lab, peer: str) -> None:
    """Back from a copy that lacks the last changes, and cut off before it hears a word from anybody."""
    await lab.world.crash(lab.here)
    lab.world.disks[lab.here].put_back(lab.backup)
    lab.world.isolate(lab.here)
    await lab.world.start(lab.here)


async def _lose(lab: Lab, peer: str) -> None:
    await lab.world.crash(lab.here)
    lab.world.disks[lab.here].lose()
    lab.world.isolate(lab.here)
    await lab.world.start(lab.here)


async def _forget(lab: Lab, peer: str) -> None:
    await lab.site.enrolment.forget(PEER)
    lab.lost.add(PEER)


async def _nothing(lab: Lab, peer: str) -> None:
    return None


SITUATIONS = (
    Situation(
        id="all-well",
        title="All well",
        words="For comparison.",
        strike=_nothing,
        heal=_nothing,
    ),
    Situation(
        id="peer-silent",
        title="Peer silent",
        words="Another site's agent does not answer: it was killed, or nothing gets through to it.",
        strike=_kill_peer,
        heal=_start_peer,
    ),
    Situation(
        id="owner-silent",
        title="Home silent",
        words="The agent of the site that made the Vpn does not answer. You are at another member.",
        strike=_kill_home,
        heal=_start_home,
        home=False,
    ),
    Situation(
        id="majority-gone",
        title="Majority gone",
        words="Of five sites three are cut off; you can reach one.",
        strike=_cut_majority,
        heal=_heal,
        sites=FIVE,
    ),
    Situation(
        id="alone",
        title="Alone",
        words="Your site reaches nobody.",
        strike=_isolate,
        heal=_heal,
    ),
    Situation(
        id="disk-full",
        title="Disk full",
        words="The disk of your site's agent takes no more writes. The network is fine.",
        strike=_fill_disk,
        heal=_empty_disk,
    ),
    Situation(
        id="clock-ahead",
        title="Clock ahead",
        words="The clock of your site is 50 minutes fast.",
        strike=skewed(SKEW),
        heal=skewed(timedelta()),
    ),
    Situation(
        id="clock-behind",
        title="Clock behind",
        words="The clock of your site is 50 minutes slow.",
        strike=skewed(-SKEW),
        heal=skewed(timedelta()),
    ),
    Situation(
        id="backup",
        title="Restored backup",
        words="Your site's database was put back from a copy that lacks the last changes; no peer was reached since.",
        strike=_restore,
        heal=_heal,
    ),
    Situation(
        id="empty-store",
        title="Empty store",
        words="Your site's database is lost; no peer was reached since.",
        strike=_lose,
        heal=_heal,
    ),
    Situation(
        id="peer-forgotten",
        title="Peer forgotten",
        words="Your site has forgotten another (`site forget`), which still runs.",
        strike=_forget,
        heal=None,
    ),
)
BY_ID = {s.id: s for s in SITUATIONS}
