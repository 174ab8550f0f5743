"""Tokens of the cloud's Keystone: asked once, remembered for a while, and never good for want of an answer."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keystoneauth1.exceptions import ConnectFailure

from intertie.agent.access import Role, caller_of
from intertie.drivers.openstack import keystone
from intertie.drivers.openstack.keystone import Keystone, identity
from intertie.model.errors import Forbidden, Unauthenticated, Unavailable

PROJECT = "0177f884ad224530880df1417388abbf"


class Reply:
    def __init__(self, status: int, body: Any = None) -> None:
        self.status_code = status
        self._body = body

    def json(self) -> Any:
        return self._body


class Adapter:
    """Keystone's end: what it answers next, and what it was asked."""

    def __init__(self) -> None:
        self.answer: Reply | Exception = Reply(404)
        self.asked: list[str] = []
        self.slow = 0.0

    def get(self, path: str, headers: dict[str, str], raise_exc: bool) -> Reply:
        assert path.startswith("/auth/tokens")
        assert not raise_exc
        self.asked.append(headers["X-Subject-Token"])
        time.sleep(self.slow)  # a thread that waits for a network
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def good(ends_in: float = 3600.0, **more: Any) -> Reply:
    ends = datetime.now(UTC) + timedelta(seconds=ends_in)
    token = {
        "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "user": {"id": "u1"},
        "roles": [{"name": "member"}],
    }
    return Reply(200, {"token": {**token, "project": {"id": PROJECT}, **more}})


@pytest.fixture
def adapter() -> Adapter:
    return Adapter()


@pytest.fixture
def users(adapter: Adapter) -> Keystone:
    return Keystone("regionone", adapter)


async def test_a_good_token_is_asked_for_once(users: Keystone, adapter: Adapter) -> None:
    adapter.answer = good()
    for _ in range(3):
        holder = await users.holder("gAAAA1")
    assert (holder.project, holder.user, holder.roles) == (PROJECT, "u1", frozenset({"member"}))
    assert adapter.asked == ["gAAAA1"]
    assert users.stands(identity("gAAAA1"))
    assert "gAAAA1" not in identity("gAAAA1")


async def test_those_who_come_at_once_wait_for_one_answer(users: Keystone, adapter: Adapter) -> None:
    adapter.answer, adapter.slow = good(), 0.05
    await asyncio.gather(*(users.holder("gAAAA1") for _ in range(20)))
    assert len(adapter.asked) == 1


async def test_what_keystone_does_not_know_is_refused_and_not_asked_for_again_at_once(
    users: Keystone, adapter: Adapter
) -> None:
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await users.holder("forged")
    assert adapter.asked == ["forged"]
    assert not users.stands(identity("forged"))


@pytest.mark.parametrize("answer", [ConnectFailure("refused"), Reply(503), Reply(401), Reply(500)])
async def test_silence_is_no_right(users: Keystone, adapter: Adapter, answer: Reply | Exception) -> None:
    adapter.answer = answer
    with pytest.raises(Unavailable):
        await users.holder("gAAAA1")
    adapter.answer = good()
    assert (await users.holder("gAAAA1")).project == PROJECT, "an answer that never came is not remembered"
    adapter.answer = answer
    assert (await users.holder("gAAAA1")).project == PROJECT, "who was known goes on"


async def test_nothing_counts_beyond_its_own_end(
    users: Keystone, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.answer = good(ends_in=-1)
    with pytest.raises(Unauthenticated):
        await users.holder("old")
    monkeypatch.setattr(keystone, "BAD_FOR", 0.0)
    adapter.answer = good(ends_in=0.2)
    await users.holder("short")
    await asyncio.sleep(0.25)
    assert not users.stands(identity("short"))
    adapter.answer = Reply(404)
    with pytest.raises(Unauthenticated):
        await users.holder("short")


async def test_nonsense_is_not_even_asked_for(users: Keystone, adapter: Adapter) -> None:
    for token in ("x" * 9000, "a\nb", "ü"):
        with pytest.raises(Unauthenticated):
            await users.holder(token)
    assert adapter.asked == []


async def test_a_bounded_number_of_tokens_is_remembered(
    users: Keystone, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystone, "MOST", 3)
    adapter.answer = good()
    for number in range(5):
        await users.holder(f"t{number}")
    assert [users.stands(identity(f"t{number}")) for number in range(5)] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (["reader"], Role.READER),
        (["member", "reader"], Role.MEMBER),
        (["Member"], Role.MEMBER),
        (["admin", "manager", "member", "reader"], Role.ADMIN),
    ],
)
def test_keystones_default_roles_are_ours(roles: list[str], role: Role) -> None:
    caller = caller_of(PROJECT, roles, "ks-1")
    assert (caller.project, caller.role, caller.token) == (PROJECT, role, "ks-1")


def test_other_roles_and_tokens_of_no_project_may_nothing() -> None:
    with pytest.raises(Forbidden, match="none of the token's roles"):
        caller_of(PROJECT, ["swiftoperator", "service"], "ks-1")
    with pytest.raises(Forbidden, match="of no project"):
        caller_of("", ["admin"], "ks-1")
