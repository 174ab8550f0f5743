"""The API beside an OpenStack cloud: its Keystone's tokens at the door, beside ours."""

from __future__ import annotations

from dataclasses import replace

from intertie.agent.access import Caller, Identity, caller_of
from intertie.api import build
from intertie.model.errors import Unauthenticated, Unavailable
from tests.unit.api_lab import Api, is_problem, one_site, virtually

PROJECT = "0177f884ad224530880df1417388abbf"
ROLES = {"r": ("reader",), "m": ("member",), "a": ("admin",), "nobody": ("auditor",)}
CHALLENGE = 'Keystone uri="http://keystone.example/v3"'


class Users:
    """A Keystone that knows four tokens, and stands still for one."""

    challenge = CHALLENGE

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def recognise(self, secret: str) -> Caller:
        self.asked.append(secret)
        if secret == "late":
            raise Unavailable("Keystone does not answer", code="cloud-silent")
        if secret not in ROLES:
            raise Unauthenticated("Keystone does not know the token")
        return caller_of(PROJECT, ROLES[secret], f"ks-{secret}")

    def stands(self, caller: Caller) -> bool:
        return True


async def beside() -> tuple[Api, Users]:
    _, api = await one_site()
    users: Identity = Users()
    services = replace(api.services, identity=users)
    assert isinstance(users, Users)
    return replace(api, services=services, app=build(services)), users


@virtually
async def test_a_token_of_keystone_opens_the_door_in_either_header() -> None:
    api, users = await beside()
    for headers in ({"x_auth_token": "m"}, {"authorization": "Bearer m"}):
        made = await api.call("GET", "/v1/networks", None, "", **headers)
        assert made.status_code == 200, made.text
    assert users.asked == ["m", "m"]


@virtually
async def test_roles_and_project_are_what_keystone_says_and_nothing_else() -> None:
    api, _ = await beside()
    network = {"name": "blue", "prefix": "10.0.0.0/24"}
    reader = await api.call("POST", "/v1/networks", network, "", x_auth_token="r", x_roles="admin")
    is_problem(reader, 403, "forbidden")
    made = await api.call("POST", "/v1/networks", network, "", x_auth_token="m", x_project_id="other")
    assert made.status_code == 201, made.text
    assert made.json()["project"] == PROJECT
    is_problem(await api.call("GET", "/v1/tokens", None, "", x_auth_token="m"), 403, "forbidden")
    assert (await api.call("GET", "/v1/tokens", None, "", x_auth_token="a")).status_code == 200
    is_problem(await api.call("GET", "/v1/networks", None, "", x_auth_token="nobody"), 403, "forbidden")


@virtually
async def test_who_is_not_known_is_told_where_tokens_come_from() -> None:
    api, _ = await beside()
    for headers in ({}, {"x_auth_token": "forged"}):
        refused = await api.call("GET", "/v1/networks", None, "", **headers)
        is_problem(refused, 401, "unauthenticated")
        assert refused.headers["www-authenticate"] == CHALLENGE


@virtually
async def test_a_silent_keystone_is_503_and_our_own_tokens_go_on() -> None:
    api, users = await beside()
    is_problem(await api.call("GET", "/v1/networks", None, "", x_auth_token="late"), 503, "cloud-silent")
    own = (await api.services.tokens.create("demo", "reader")).token
    for headers in ({"x_auth_token": own}, {"authorization": f"Bearer {own}"}):
        assert (await api.call("GET", "/v1/networks", None, "", **headers)).status_code == 200
    assert users.asked == ["late"]


@virtually
async def test_a_site_without_keystone_takes_ours_in_either_header_and_no_other() -> None:
    _, api = await one_site()
    own = (await api.services.tokens.create("demo", "reader")).token
    assert (await api.call("GET", "/v1/networks", None, "", x_auth_token=own)).status_code == 200
    is_problem(await api.call("GET", "/v1/networks", None, "", x_auth_token="gAAAA"), 401, "unauthenticated")


@virtually
async def test_a_request_id_of_openstack_is_kept_and_given_back() -> None:
    api, _ = await beside()
    id = "req-7a1e2b3c-0d4e-4f56-8a9b-0c1d2e3f4a5b"
    told = await api.call("GET", "/v1/site", None, "", x_auth_token="r", x_openstack_request_id=id)
    assert (told.headers["x-openstack-request-id"], told.headers["x-request-id"]) == (id, id)
    other = await api.call("GET", "/v1/site", None, "", x_auth_token="r", x_request_id="mine-1")
    assert other.headers["x-request-id"] == "mine-1"
    assert "x-openstack-request-id" not in other.headers
