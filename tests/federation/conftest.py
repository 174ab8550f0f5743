"""The peer transport is tested on both event loops: the agent runs on uvloop where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Factories = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Factories:
    plain: Factories = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith("test_peer_"):
        # Their TLS is not the same code.
        return {**plain, "uvloop": uvloop.new_event_loop}
    return plain
