"""The benchmark that kills an agent of the demo runs, with sizes that prove nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_runs() -> None:
    words = [sys.executable, "-m", "bench", "--tiny", "cold-start"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "### cold-start" in done.stdout
