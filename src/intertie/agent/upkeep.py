"""What an operator is to be told before it hurts: certificates that end, a store that cannot be written, clocks that
are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from intertie.agent.agent import Agent
from intertie.agent.ports import Certificate, Surroundings
from intertie.model.errors import IntertieError
from intertie.model.storage import LocalEntry

SPACE = "upkeep"
LOOK = 60.0
"""Seconds between looks at the certificates."""
AGAIN = timedelta(days=1)
"""How long a certificate that ends is not told of again."""
WRONG_CLOCK = 60.0
"""Seconds by which a peer's clock may differ before it is worth a word."""
KINDS = {
    "root": "root certificate of {}",
    "tls": "certificate of {} towards peers",
    "users": "certificate of the API",
}


async def write_again(agent: Agent) -> None:
    """After a commit that failed, try one of no consequence: a site that has nothing to say would never learn that
    its disk has room again, and stay unready."""
    if agent.figures.store_problem:
        with suppress(IntertieError):
            await agent.remember(LocalEntry(SPACE, "written", agent.now().isoformat()))


def certificates(agent: Agent, surroundings: Surroundings) -> Sequence[Certificate]:
    """This site's own and the roots of those it trusts."""
    roots = {name: str(pin.root) for name, pin in agent.pins().items()}
    return surroundings.certificates(roots)


def flaw(agent: Agent, certificate: Certificate) -> str:
    """In words, what an operator has to know of a certificate; "" if all is well."""
    name = KINDS[certificate.kind].format(certificate.site)
    if certificate.problem:
        until = f"; it ends {certificate.ends:%F %H:%M} UTC" if certificate.ends else ""
        return f"the {name} was not renewed or cannot be read: {certificate.problem}{until}"
    if certificate.ends is None or certificate.rotates:
        return ""
    left = certificate.ends - agent.now()
    if left <= timedelta():
        return f"the {name} ended {certificate.ends:%F}"
    if left < timedelta(days=agent.settings.certificate_days):
        return f"the {name} ends {certificate.ends:%F}, in {left.days} days"
    return ""


def warnings(agent: Agent, surroundings: Surroundings) -> tuple[str, ...]:
    """What the operator should look at now, a line each."""
    found = [words for c in certificates(agent, surroundings) if (words := flaw(agent, c))]
    if agent.figures.store_problem:
        found.append(agent.figures.store_problem)
    pins = agent.pins()
    for peer, skew in sorted(agent.figures.skew.items()):
        if peer in pins and abs(skew) > WRONG_CLOCK:
            found.append(f"the clock of {peer} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours")
    return tuple(found)


class Watch:
    """Tells of certificates that end: when it is first seen, and once a day from then on."""

    def __init__(self, agent: Agent, surroundings: Surroundings) -> None:
        self.agent = agent
        self._surroundings = surroundings
        self._told: dict[tuple[str, str], float] = {}
        """(kind, site) → when, on the event loop's clock."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK)

    def look(self) -> None:
        now = asyncio.get_running_loop().time()
        found = [(c, flaw(self.agent, c)) for c in certificates(self.agent, self._surroundings)]
        wrong = {(c.kind, c.site): words for c, words in found if words}
        self._told = {k: told for k, told in self._told.items() if k in wrong}
        for (kind, site), words in wrong.items():
            if now - self._told.get((kind, site), float("-inf")) >= AGAIN.total_seconds():
                self._told[(kind, site)] = now
                self.agent.warn("certificate", "", site, words)
