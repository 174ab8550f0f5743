"""Who calls, and what they may: bearer tokens with project and role, stored hashed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from hashlib import sha256
from typing import Protocol

from intertie.agent.agent import Agent
from intertie.agent.repeat import Repeat
from intertie.model.codec import check_name
from intertie.model.errors import Forbidden, NotFound, Refused, Unauthenticated
from intertie.model.storage import LocalEntry
from intertie.model.views import TokenView

ROLES = {"admin": 3, "manager": 2, "member": 2, "reader": 1}
"""What the roles that OpenStack gives to everybody's users may here (Keystone's default roles)."""
FOREIGN = "ks-"
"""How ids of tokens begin that an identity service knows."""
SPACE = "token"
PREFIX = "itk_"


class Role(IntEnum):
    """Each role may what the ones below it may. An admin is the site's operator and sees all projects."""

    READER = 1
    MEMBER = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated user."""

    project: str
    role: Role
    token: str = ""
    """The token's id."""

    def needs(self, role: Role) -> None:
        """Forbidden unless the caller has at least `role`."""
        if self.role < role:
            raise Forbidden(
                f"this needs the role {role.name.lower()}, the token has {self.role.name.lower()}",
                hint=f"intertie token create --project {self.project} --role {role.name.lower()}",
            )

    def sees(self, project: str | None) -> bool:
        return self.role is Role.ADMIN or project == self.project


class Identity(Protocol):
    """Users whom another service knows, beside those with tokens of this site."""

    @property
    def challenge(self) -> str:
        """Where they get a token (WWW-Authenticate)."""
        ...

    async def recognise(self, secret: str) -> Caller:
        """Unauthenticated; Forbidden without a role that counts here; Unavailable if it cannot be known now."""
        ...

    def stands(self, caller: Caller) -> bool:
        """As `Tokens.stands`."""
        ...


def caller_of(project: str, roles: Iterable[str], token: str) -> Caller:
    """Whom an identity service says to hold these roles in a project. Forbidden if none of them counts here."""
    best = max((ROLES.get(role.lower(), 0) for role in roles), default=0)
    if not project:
        raise Forbidden("the token is of no project", hint="ask for one of a project: OS_PROJECT_NAME")
    if not best:
        raise Forbidden(
            f"none of the token's roles in project {project} may anything here",
            hint="openstack role add --project PROJECT --user USER member (or reader, admin)",
        )
    return Caller(project=check_name(project, "project"), role=Role(best), token=token)


class Tokens:
    """Makes, lists, revokes and recognises tokens."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def create(self, project: str, role: str, key: str = "") -> TokenView:
        """A new token; its text is shown once. The same Idempotency-Key again: another text, and the one before,
        which nobody may have seen, is revoked, so that one token stands."""
        check_name(project, "project")
        if role.upper() not in Role.__members__:
            raise Refused(f"{role!r} is no role", hint="reader, member or admin")
        secret = PREFIX + secrets.token_urlsafe(24)
        id = _hash(secret)[:12]
        now = self.agent.now()
        value = {"hash": _hash(secret), "project": project, "role": role.lower(), "created_at": now.isoformat()}
        again = Repeat(self.agent, f"token/{project}", key, role.lower())
        before = again.made(lambda _: True)
        revoked = [LocalEntry(SPACE, before, None)] if before else []
        await self.agent.remember(*revoked, LocalEntry(SPACE, id, json.dumps(value)), *again.notes(id))
        return TokenView(id=id, project=project, role=role.lower(), created_at=now, token=secret)

    def all(self) -> list[TokenView]:
        return [_view(id, json.loads(value)) for id, value in sorted(self.agent.local.get(SPACE, {}).items())]

    async def revoke(self, id: str) -> None:
        """The token is refused from the next request on."""
        if id not in self.agent.local.get(SPACE, {}):
            raise NotFound(f"no token {id}", hint="intertie token list")
        await self.agent.remember(LocalEntry(SPACE, id, None))

    def recognise(self, secret: str) -> Caller:
        """The caller whose token this is. Unauthenticated otherwise."""
        hashed = _hash(secret)
        entry = self.agent.local.get(SPACE, {}).get(hashed[:12])
        found = json.loads(entry) if entry else None
        # The digests are compared whole and in constant time; the id is no secret.
        if found is None or not secrets.compare_digest(found["hash"], hashed):
            raise Unauthenticated("the token is not known here", hint="intertie token create, at this site")
        return Caller(project=found["project"], role=Role[found["role"].upper()], token=hashed[:12])

    def stands(self, caller: Caller) -> bool:
        """Whether the token that the caller came with has not been revoked since. For answers that take long."""
        return not caller.token or caller.token in self.agent.local.get(SPACE, {})


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _view(id: str, entry: dict[str, str]) -> TokenView:
    return TokenView(
        id=id,
        project=entry["project"],
        role=entry["role"],
        created_at=datetime.fromisoformat(entry["created_at"]),
    )
