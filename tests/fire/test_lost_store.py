"""A site starts without its database, and alone: it removes nothing that forwards (I22).

In a federation of its own, since what only the lost database knew (mappings, names of hosts) is lost with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from intertie.testing.fault_proxy import Fault
from tests.fire.checker import look
from tests.fire.conftest import Fire, kindle
from tests.fire.settled import rounds
from tests.net.topologies.rig import until
from tests.net.topologies.system import remains, segments
from tests.net.topologies.topology import read_topology


@pytest.fixture
def fire(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    yield from kindle(read_topology(request.path.parent), tmp_path_factory.mktemp("lost"))


def test_an_empty_store_and_nobody_to_ask(fire: Fire) -> None:
    """lyon starts without its database and hears nobody: it serves what it can, says what it cannot know, and takes
    nothing away (I22)."""
    lyon = fire["lyon"]
    before = set(segments(fire.rig, "lyon")), remains(fire.rig, "lyon"), look(fire.rig, "lyon")
    with fire.story():
        fire.net.isolate("lyon", Fault(cut=True))
        lyon.kill()
        lyon.lose_database()
        lyon.start()
        lyon.wait_ready()
        count = rounds(fire.rig, "lyon")
        until("rounds have passed", lambda: rounds(fire.rig, "lyon") >= count + 3)
        assert lyon.get("/v1/site")["recovering"] is True
        assert (set(segments(fire.rig, "lyon")), remains(fire.rig, "lyon"), look(fire.rig, "lyon")) == before
        fire.net.lift()
        until("lyon has its past back", lambda: lyon.get("/v1/site")["recovering"] is False)
    assert look(fire.rig, "lyon") == before[2]
