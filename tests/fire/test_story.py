"""A story of chance over four sites: `make fire SECONDS=1800 SEED=7` tells a longer one."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from intertie.model.codec import read
from tests.fire.conftest import Fire, kindle
from tests.fire.story import Story
from tests.net.topologies.topology import Topology

SECONDS = float(os.environ.get("INTERTIE_FIRE_SECONDS") or 30)
SEED = int(os.environ.get("INTERTIE_FIRE_SEED") or 1)


@pytest.fixture
def fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    topology = read(Topology, tomllib.loads((Path(__file__).parent / "story.toml").read_text()))
    yield from kindle(topology, tmp_path_factory.mktemp("story"))


@pytest.mark.timeout(SECONDS * 4 + 300)
def test_a_story_of_chance(fire: Fire) -> None:
    story = Story(fire, SEED)
    print(f"\nseed {SEED}, {SECONDS:g} s")
    try:
        story.run(SECONDS)
    finally:
        print(f"seed {SEED}: {story.counted}; {story.most:.0%} of the calls that were allowed")
        print(f"    refused: {fire.ledger.refused}")
    assert sum(story.counted.values()) > SECONDS / 2
