"""Users of a real Keystone at the site's door."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request

import pytest

from intertie.agent.access import Caller, Role
from intertie.drivers.openstack import keystone
from intertie.drivers.openstack.keystone import Keystone
from intertie.model.errors import Refused, Unauthenticated, Unavailable
from intertie.openstack_site import KeystoneUsers, adapter, cloud_region
from intertie.site_file import OpenStack
from lab.neutron import login
from lab.regions import Lab


def users(lab: Lab, number: int = 0) -> KeystoneUsers:
    """As an agent beside that region has them, with the service's user."""
    settings = OpenStack(cloud=lab.regions[number].cloud, clouds_file=str(lab.service_yaml))
    region = cloud_region(settings)
    made = adapter(region, "identity")
    made.session.timeout = 3.0
    return KeystoneUsers(Keystone(settings.cloud, made), region.config["auth"]["auth_url"])


def revoke(lab: Lab, token: str) -> None:
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    request = urllib.request.Request(f"{lab.regions[0].keystone_url}/auth/tokens", headers=headers, method="DELETE")
    urllib.request.urlopen(request, timeout=30).close()


async def test_each_role_of_a_project(regions: Lab) -> None:
    (one, _), project = regions.regions, regions.tenants[0]["demo"]
    at = users(regions)
    for role in (Role.READER, Role.MEMBER, Role.ADMIN):
        token, _ = login(one, f"demo-{role.name.lower()}", "demo")
        caller = await at.recognise(token)
        assert (caller.project, caller.role) == (project, role)
        assert at.stands(caller)
    other, _ = login(one, "other-member", "other")
    assert (await at.recognise(other)).project == regions.tenants[0]["other"]
    assert at.challenge == f'Keystone uri="{one.keystone_url}"'


async def test_forged_revoked_and_foreign_tokens_are_refused(regions: Lab, clouds: Lab) -> None:
    at = users(regions)
    foreign, _ = login(clouds.regions[1], "demo-member", "demo")
    revoked, _ = login(regions.regions[0], "demo-member", "demo")
    revoke(regions, revoked)
    for token in ("forged", revoked, foreign):
        with pytest.raises(Unauthenticated, match="does not know the token"):
            await at.recognise(token)


async def test_a_revoked_token_counts_no_longer_than_it_is_remembered(
    regions: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystone, "GOOD_FOR", 1.0)
    monkeypatch.setattr(keystone, "BAD_FOR", 1.0)
    at = users(regions)
    token, _ = login(regions.regions[0], "demo-member", "demo")
    assert isinstance(await at.recognise(token), Caller)
    revoke(regions, token)
    await asyncio.sleep(1.1)
    with pytest.raises(Unauthenticated):
        await at.recognise(token)


async def test_a_keystone_that_stands_still_lets_in_whom_it_let_in_and_nobody_new(regions: Lab) -> None:
    at = users(regions)
    known, _ = login(regions.regions[0], "demo-member", "demo")
    new, _ = login(regions.regions[0], "demo-reader", "demo")
    await at.recognise(known)
    os.kill(regions.pids["keystone-0"], signal.SIGSTOP)
    try:
        assert (await at.recognise(known)).role is Role.MEMBER
        with pytest.raises(Unavailable, match="does not answer"):
            await at.recognise(new)
    finally:
        os.kill(regions.pids["keystone-0"], signal.SIGCONT)
    assert (await at.recognise(new)).role is Role.READER


def test_settings_that_name_no_cloud_are_refused_with_what_is_wrong(regions: Lab) -> None:
    with pytest.raises(Refused, match="nowhere") as unknown:
        cloud_region(OpenStack(cloud="nowhere", clouds_file=str(regions.service_yaml)))
    assert "clouds.yaml" in unknown.value.hint
    with pytest.raises(Refused, match="there is no file"):
        cloud_region(OpenStack(cloud="regionone", clouds_file="/nowhere/clouds.yaml"))
