"""What several agents at one address share: link probes are answered by any of them, and come back to who asked."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address

import pytest

from intertie.drivers.linux.link_probe import LinkProbes, SharedLinkProbes
from intertie.federation.peer_server import listen

HERE, THERE = IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")


async def test_each_hears_the_answers_to_its_own_probes_from_a_site_of_several_and_of_one() -> None:
    agents = [SharedLinkProbes() for _ in range(3)]
    alone = LinkProbes()
    for agent in agents:
        await agent.open(HERE)
    await alone.open(THERE)
    for _ in range(5):
        for asking, target in [*((agent, THERE) for agent in agents), (alone, HERE)]:
            assert await asking.probe(target, 2.0) is not None
    for agent in agents[1:]:
        agent.close()
    await asyncio.sleep(0)  # closing takes a turn of the loop
    for _ in range(5):
        assert await alone.probe(HERE, 2.0) is not None, "one that is gone was asked"
    agents[0].close()
    alone.close()


async def test_an_agent_that_is_alone_lets_nobody_at_its_ports() -> None:
    alone = LinkProbes()
    await alone.open(HERE)
    with pytest.raises(OSError, match="in use"):
        await SharedLinkProbes().open(HERE)
    alone.close()
    port = listen(HERE, 0)
    with pytest.raises(OSError, match="in use"):
        listen(HERE, port.getsockname()[1], (socket.SO_REUSEADDR, socket.SO_REUSEPORT))
    port.close()
