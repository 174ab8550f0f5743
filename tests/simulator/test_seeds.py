"""As many seeds as some minutes carry, all profiles; and every story that once broke something."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from intertie.testing.simulator.keepsake import load
from intertie.testing.simulator.main import main
from intertie.testing.simulator.play import play
from intertie.testing.simulator.profiles import PROFILES

STORIES = sorted(Path(__file__).parent.glob("stories/*.json"))
SECONDS = float(os.environ.get("INTERTIE_SIM_SECONDS", "240"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_what_broke_once_holds(path: Path) -> None:
    kept = load(path)
    assert kept.broke, "a story is kept for what it broke"
    assert [f"{v.invariant} {v.what}" for v in play(kept.story).violations] == []


@pytest.mark.timeout(SECONDS + 600)
def test_no_seed_breaks_an_invariant(tmp_path: Path) -> None:
    """Ends by time: how many seeds that are is in the summary. What broke is shrunk and drawn in the output."""
    sums = tmp_path / "sums.json"
    how = ["--seeds", "1..", "--profile", "all", "--seconds", str(SECONDS), "--plays", "150"]
    how += ["--patience", "500"]  # thirty days of silence take half a minute, on a machine that does nothing else
    code = main(["run", *how, "--json", str(sums)])
    assert code == 0
    told = json.loads(sums.read_text())
    # A run in which little succeeds, little is refused or little breaks proves little.
    assert told["plays"] >= len(PROFILES)
    assert told["told"]["vpn ok"] > told["plays"]
    assert told["told"]["host ok"] > told["plays"]
    assert sum(told["faults"].values()) > told["plays"]
