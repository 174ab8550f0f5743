"""Telling clones apart: two agents that write as one site on two stores, a copied machine (federation rule 18).

What is compared is the *lineage* of a store: the id of its life between two times that somebody opens it afresh. A
store for one agent gives each opening a new one; agents that share a store share it, and are no clones.

A new lineage alone proves nothing: a restart begins one as well, and a message of the old one may come late or twice.
So each message carries a mark, and the last mark that its sender had from its receiver. Who echoes a mark wrote after
it was made. Of two lineages that follow one another all words of the one are older than all words of the other; if
each has echoed a mark that was made after the other had been heard, both were alive at once. No clock has a part in
that, nor in how long a message was under way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from intertie.agent.agent import Agent
from intertie.agent.recovery import QUARANTINE
from intertie.model.storage import LocalEntry
from intertie.model.wire import Message

LONE = 6
"""Heartbeats in which only one of two clones was heard before it is believed that the other has ended."""
KEPT = 8
"""Lineages of a peer that are remembered: those that were heard last."""


@dataclass(slots=True)
class _Life:
    """What one lineage of a peer has shown."""

    first: int
    """The mark that was made when it was first heard."""
    echoed: int = 0
    """The highest mark that it echoed."""
    at: float = 0.0
    """When it last showed that it lives: it echoed a mark that it had not echoed before. Event loop's clock."""


@dataclass(slots=True)
class Lineages:
    """Of one peer, as this run of the agent has heard them. Marks are numbers that rise with each message heard."""

    mark: int = 0
    lives: dict[str, _Life] = field(default_factory=dict)

    def heard(self, lineage: str, echo: int, now: float) -> None:
        """A message of `lineage` came; `echo` is 0 if it had no mark of this run."""
        self.mark += 1
        life = self.lives.pop(lineage, None) or _Life(self.mark, at=now)
        if echo > life.echoed:
            life.echoed, life.at = echo, now
        self.lives[lineage] = life  # the newest at the end
        while len(self.lives) > KEPT:
            del self.lives[next(iter(self.lives))]

    def overlap(self) -> bool:
        """Whether two of them lived at once."""
        lives = list(self.lives.values())
        return any(a.echoed >= b.first and b.echoed >= a.first for n, a in enumerate(lives) for b in lives[:n])

    def lone(self, now: float, seconds: float) -> bool:
        """Whether only one has lived for that long, and has been heard for that long."""
        return sum(now - life.at < seconds for life in self.lives.values()) <= 1

    def outlived(self) -> None:
        """Only the one that was heard last lives: should another come again, it is told apart anew."""
        for lineage in list(self.lives)[:-1]:
            del self.lives[lineage]


class Clones:
    """What one agent knows of its peers' clones, and what it is told of its own."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._lineages: dict[str, Lineages] = {}
        self._marks: dict[str, str] = {}
        """The last mark that each peer sent."""
        self._since: dict[str, float] = {}
        """Since when a peer's quarantine is watched for its end, on the event loop's clock."""

    def mark(self, peer: str) -> str:
        """To be echoed by the peer. Another run of this agent counts anew, so its name is part of it."""
        return f"{self.agent.boot}/{self._of(peer).mark}"

    def echo(self, peer: str) -> str:
        return self._marks.get(peer, "")

    def quarantined(self, peer: str) -> bool:
        """Whether nothing of the peer is taken for now. What stands of it goes on forwarding."""
        return peer in self.agent.local.get(QUARANTINE, {})

    async def heard(self, message: Message) -> bool:
        """Take note of whose word came. Whether what it brings may be taken."""
        agent, peer = self.agent, message.sender
        now = asyncio.get_running_loop().time()
        lineages = self._of(peer)
        lineages.heard(message.boot, self._read(message.echo), now)
        self._marks[peer] = message.mark
        if self.quarantined(peer):
            seconds = LONE * agent.settings.heartbeat
            watched = self._since.setdefault(peer, now)
            if now - watched >= seconds and lineages.lone(now, seconds):
                await self.end(peer, "only one of its agents is left")
        elif lineages.overlap():
            await self._begin(peer)
        return not self.quarantined(peer)

    async def _begin(self, peer: str) -> None:
        agent = self.agent
        self._since[peer] = asyncio.get_running_loop().time()
        await agent.remember(LocalEntry(QUARANTINE, peer, agent.now().isoformat()))
        agent.warn("quarantine", peer, peer, "two agents on two stores write as this site: nothing of it is taken")
        agent.whisper()  # both are to hear of it soon

    async def end(self, peer: str, why: str) -> None:
        """Take again what the peer says: an operator says so, or only one of its agents was heard for long enough."""
        if not self.quarantined(peer):
            return
        agent = self.agent
        self._of(peer).outlived()
        self._since.pop(peer, None)
        await agent.remember(LocalEntry(QUARANTINE, peer, None))
        agent.tell("quarantine", peer, peer, f"ended: {why}")
        agent.whisper()

    async def told(self, peer: str, cloned: bool) -> None:
        """What a peer says of this site."""
        agent = self.agent
        if cloned and peer not in agent.accusers:
            agent.accusers.add(peer)
            agent.relay("cloned", peer=peer, called=True)
            agent.warn("quarantine", "", agent.site, f"{peer} hears two agents of this site: it writes nothing")
        elif not cloned and peer in agent.accusers:
            agent.accusers.discard(peer)
            agent.relay("cloned", peer=peer, called=False)
            agent.tell("quarantine", "", agent.site, f"ended at {peer}")
            await agent.recovered()
            await agent.settle()
            agent.poke.set()

    def _of(self, peer: str) -> Lineages:
        return self._lineages.setdefault(peer, Lineages())

    def _read(self, echo: str) -> int:
        run, _, number = echo.rpartition("/")
        return int(number) if run == self.agent.boot and number.isdecimal() else 0
