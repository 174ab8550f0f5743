"""Every benchmark runs, with sizes that prove nothing: what they say of time is looked at, and never a verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import IN_NAMESPACES, NAMES
from bench.figures import Figure, Outcome, number, read, table

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {"data-plane": "tests/net", "cold-start": "tests/demo"}
"""What needs a kernel is tried in the lanes that have one."""


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ELSEWHERE])
def test_it_runs(name: str) -> None:
    words = [sys.executable, "-m", "bench", "--tiny", name]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"### {name}" in done.stdout
    assert "inf" not in done.stdout, "something never came"


def test_each_benchmark_is_a_file() -> None:
    assert all((ROOT / "bench" / f"{name.replace('-', '_')}.py").exists() for name in NAMES)
    assert set(IN_NAMESPACES) <= set(NAMES)


def test_an_unknown_name_is_a_usage_error() -> None:
    words = [sys.executable, "-m", "bench", "nothing"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "peer-call" in done.stderr


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    figures = (
        Figure(
            what="calls", ours=0.1234, unit="ms", baseline=1.0, beside="httpx", ratio=0.1234, aim="≤ 0.1", met=False
        ),
        Figure(what="events", ours=12345.6, unit="/s"),
    )
    where = {"cpu": "some", "cores": "2", "memory": "4 GiB", "kernel": "6", "python": "3.11"}
    outcome = Outcome(
        name="calls", figures=figures, at="2026-01-01", commit="abc", load=(0.1, 1.25), seconds=3.2, machine=where
    )
    outcome.save(tmp_path)
    assert read(tmp_path) == [outcome]
    shown = table([outcome])
    assert "| calls | 0.123 ms | 1 ms, httpx | 0.123 | ≤ 0.1: **missed** |" in shown
    assert "| events | 12,346 /s |  |  |  |" in shown
    assert "load 0.1 → 1.2" in shown


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01234, "0.0123"), (9.876, "9.88"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_three_digits_count(value: float, text: str) -> None:
    assert number(value) == text
