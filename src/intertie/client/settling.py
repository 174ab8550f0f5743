"""Changes of Vpns that are asked for and then waited for, until they are so everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from intertie.client.calls import Terms
from intertie.client.client import Client
from intertie.client.vpns import Seen
from intertie.client.waiting import Deadline, Say, Settled, Wish, quietly, until_gone, until_ready, version
from intertie.model.bodies import Attachment
from intertie.model.errors import IntertieError
from intertie.model.views import Phase, VpnRequest, VpnView

HOLD = 2.0
"""Seconds for which this site may hold its answer: long enough to hear most refusals in the agent's own words."""


def created(client: Client, wish: VpnRequest, terms: Terms, say: Say = quietly) -> Settled:
    """A new Vpn, ready within `terms.wait`. One that is refused leaves nothing behind."""
    deadline = Deadline(terms.wait)
    made = client.vpns.create(wish, replace(terms, wait=min(terms.wait, HOLD)))
    sites = frozenset(each.site for each in made.value.members)
    settled = until_ready(client.vpns, made.value.id, Wish(sites), deadline, say)
    if settled.seen.value.phase == Phase.REFUSED:
        # As when the agent itself waits: who hears the refusal has nothing left to clean up.
        with suppress(IntertieError):
            client.vpns.delete(settled.seen)
    return settled


def updated(
    client: Client,
    seen: Seen,
    attachments: Sequence[Attachment],
    name: str,
    terms: Terms,
    say: Say = quietly,
) -> Settled:
    """The Vpn with exactly these members, ready within `terms.wait`."""
    deadline = Deadline(terms.wait)
    # Another home's word is heard only while the agent holds its answer.
    hold = terms.wait if foreign(client, seen.value) else min(terms.wait, HOLD)
    client.vpns.update(seen, attachments, name=name, terms=replace(terms, wait=hold))
    wish = Wish(_sites(client, attachments), version(seen.value))
    return until_ready(client.vpns, seen.value.id, wish, deadline, say)


def deleted(client: Client, seen: Seen, force: bool, terms: Terms, say: Say = quietly) -> None:
    """Gone everywhere within `terms.wait`; otherwise what keeps it is raised."""
    deadline = Deadline(terms.wait)
    hold = terms.wait if foreign(client, seen.value) else 0.0
    ended = client.vpns.delete(seen, force=force, terms=replace(terms, wait=hold))
    if ended.value is not None:
        until_gone(client.vpns, seen.value.id, deadline, say)


def foreign(client: Client, vpn: VpnView) -> bool:
    """Whether another site is the Vpn's home, so that this one can only ask it."""
    return vpn.owner != client.site().value.name


def _sites(client: Client, attachments: Sequence[Attachment]) -> frozenset[str]:
    """The member sites that these attachments mean: one with a cell may name its cloud instead."""
    if not any(each.cell for each in attachments):
        return frozenset(each.site for each in attachments)
    known = [client.site().value, *client.peers.list()]
    cells = {(each.cloud, each.cell): each.name for each in known if each.cell}
    return frozenset(cells.get((each.site, each.cell), each.site) for each in attachments)
