"""As many brief stories as some minutes carry, some of every profile, and every story that once broke something."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

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
def test_no_seed_breaks_an_invariant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ends by time or with the last seed. How many that were is printed; what broke is shrunk and drawn."""
    told = played(tmp_path, "--seeds", "1..3000", "--profile", "brief", "--seconds", str(SECONDS), "--plays", "150")
    # A run in which little succeeds, little is refused or little breaks proves little.
    assert told["told"]["vpn ok"] > told["plays"]
    assert told["told"]["host ok"] > told["plays"] / 2
    assert sum(told["faults"].values()) > told["plays"]
    with capsys.disabled():
        days, faults = told["simulated_seconds"] / 86400, sum(told["faults"].values())
        print(f"\n{told['plays']} stories, {days:.1f} simulated days, {faults} faults, no violation")


@pytest.mark.timeout(600)
def test_no_profile_breaks_an_invariant(tmp_path: Path) -> None:
    """Some seeds of every workload; `make soak` plays more of them."""
    # Thirty days of silence take half a minute, on a machine that does nothing else.
    told = played(tmp_path, "--seeds", "1..3", "--profile", "all", "--patience", "500")
    assert told["plays"] == 3 * len(PROFILES)


def played(directory: Path, *how: str) -> dict[str, Any]:
    sums = directory / "sums.json"
    assert main(["run", *how, "--json", str(sums)]) == 0
    told: dict[str, Any] = json.loads(sums.read_text())
    return told
