"""What the API serves: the agent's use cases, handed in by `main`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from intertie.agent.access import FOREIGN, Caller, Identity, Tokens
from intertie.agent.agent import Agent
from intertie.agent.enrolment import Enrolment
from intertie.agent.health import Health
from intertie.agent.networks import Networks
from intertie.agent.ports import Nowhere, Surroundings
from intertie.agent.round import Rounds
from intertie.agent.vpns import Vpns


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    agent: Agent
    vpns: Vpns
    networks: Networks
    enrolment: Enrolment
    tokens: Tokens
    rounds: Rounds
    health: Health
    identity: Identity | None = None
    """Beside an OpenStack cloud: its Keystone."""
    surroundings: Surroundings = field(default_factory=Nowhere)

    def stands(self, caller: Caller) -> bool:
        """Whether the token that the caller came with counts still. For answers that take long."""
        foreign = self.identity is not None and caller.token.startswith(FOREIGN)
        return self.identity.stands(caller) if foreign and self.identity else self.tokens.stands(caller)


async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


Uses = Annotated[Services, Depends(_services)]
"""A handler's parameter: the use cases."""
