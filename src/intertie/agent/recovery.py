"""What a site that is behind its own past remembers and says again (federation rule 18)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from intertie.model.records import Draft, Record
from intertie.model.storage import LocalEntry
from intertie.planning.table import Table

if TYPE_CHECKING:
    from intertie.agent.agent import Agent

RECOVERY = "recovery"
"""The space of the local entry that stands from the loss of a store until all peers have told what they held."""
LINEAGE = "lineage"
"""The space of local entries, peer → the lineage of it that was read last."""
VERSION = "version"
"""The space of the local entry that says which version of Intertie ran here last."""
QUARANTINE = "quarantine"
"""The space of local entries, peer → since when: two agents write as that peer, and nothing of it is taken."""


def since(incarnation: int) -> LocalEntry:
    """The local entry that says that this site recovers, from that incarnation on."""
    return LocalEntry(RECOVERY, "since", str(incarnation))


def said_again(table: Table, disputed: Mapping[str, Record]) -> Iterable[Draft]:
    """New versions of own records that two stores wrote with one order, so that all have the same again. What has
    ended in one of them has ended."""
    for id, other in sorted(disputed.items()):
        mine = table.get(id)
        if mine is not None and mine.home == table.site and mine.order == other.order:
            said = mine if other.live else other
            header, order = said.header, mine.order
            yield Draft(
                kind=header.kind,
                id=id,
                state=header.state,
                names=header.names,
                owes=header.owes
                if said is mine
                else tuple(sorted({*header.owes, *mine.header.owes, *mine.header.names})),
                body=said.body,
                base=order,
                epoch=order.epoch,
                adopter=order.adopter,
            )


async def upgraded(agent: Agent, first: str) -> None:
    """After a change of version (`first`: the one that noted none yet), read every peer from its beginning: what the
    version before could not read, it left out for good."""
    if agent.local.get(VERSION, {}).get("ran", first) == agent.settings.version:
        return
    for peer in sorted(agent.cursors):
        await agent.read_anew(peer)
    await agent.remember(LocalEntry(VERSION, "ran", agent.settings.version))
