"""`rig`: the topology of the test's folder, running. One for all tests of a file, since it takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net.topologies.rig import Rig
from tests.net.topologies.topology import read_topology


@pytest.fixture(scope="module")
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = request.path.parent
    rig = Rig(read_topology(folder), tmp_path_factory.mktemp(folder.name[:12]))
    try:
        rig.build()
        yield rig
    except AssertionError:
        for site in rig:
            print(f"--- {site.name}\n{site.log()}")
        raise
    finally:
        rig.close()
