"""Whose a thing is at this site, and so who sees it in plans and events (invariant I17). None: the operator's."""

from __future__ import annotations

from intertie.agent.agent import Agent
from intertie.model.bodies import AnswerBody, HostBody, NetworkBody, ProposalBody, VpnBody
from intertie.model.items import Item, Segment
from intertie.model.views import Event
from intertie.planning.admit import project_here
from intertie.planning.faults import apart


def item_project(agent: Agent, item: Item) -> str | None:
    """A segment is its Vpn's."""
    return record_project(agent, item.vpn) if isinstance(item, Segment) else item.project


def event_project(agent: Agent, event: Event) -> str | None:
    """Events name a record, or an item: a network, a host, or a segment as "vpn/network"."""
    id = event.id.partition("/")[0]
    if agent.table.get(id) is not None:
        project: str | None = None
        with apart(agent.table.faults, id):
            project = record_project(agent, id)
        return project
    # A network that a Vpn made here has no record of its own.
    return next((n.project for n in agent.inventory.networks if n.id == id), None)


def record_project(agent: Agent, id: str) -> str | None:
    """An answer or proposal is whose Vpn it is about."""
    # An answer may be about a proposal, and that about a Vpn.
    for _ in range(3):
        record = agent.table.get(id)
        match record.body if record is not None else None:
            case AnswerBody(vpn=about) | ProposalBody(vpn=about):
                id = about
            case NetworkBody(project=project) | HostBody(project=project):
                return project
            case VpnBody():
                assert record is not None
                return project_here(agent.table, record)
            case _:
                return None
    return None
