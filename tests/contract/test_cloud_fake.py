"""The cloud in memory keeps the contract, and can be slow or fail as a test wants."""

from __future__ import annotations

import asyncio

import pytest

from intertie.model.errors import Unavailable
from intertie.model.items import Key
from intertie.testing.driver_suite import CloudContract, network
from intertie.testing.fake_cloud import FakeCloud, FakeRig, FakeSystem


@pytest.fixture
def rig() -> FakeRig:
    return FakeRig()


class TestFakeCloud(CloudContract):
    pass


async def test_a_hindrance_may_fail_or_wait() -> None:
    gate = asyncio.Event()

    async def hindrance(verb: str, k: Key | None) -> None:
        if verb == "ensure":
            await gate.wait()
        if verb == "remove":
            raise Unavailable("the cloud does not answer")

    system = FakeSystem(hindrance=hindrance)
    cloud = FakeCloud(system)
    slow = asyncio.create_task(cloud.ensure(network()))
    assert await cloud.observe(None) == ()
    gate.set()
    await slow
    assert await cloud.observe(None) == (network(),)
    with pytest.raises(Unavailable):
        await cloud.remove(network())
    assert await cloud.observe(None) == (network(),)
