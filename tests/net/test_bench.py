"""The benchmark of the data plane runs, with sizes that prove nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_runs() -> None:
    words = [sys.executable, "-m", "bench", "--tiny", "data-plane"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "### data-plane" in done.stdout
