"""`intertie-sim` on a toy federation: what it prints, how it ends, what it does when workers die or hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from intertie.testing.simulator.keepsake import load
from intertie.testing.simulator.main import main
from tests.simulator.toy import BAD, STARTED, TOY

ROOT = Path(__file__).resolve().parents[2]


def test_seeds_that_break_nothing_end_with_0(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "--seeds", "4..6", "-j", "2", "--json", str(tmp_path / "sums")], TOY) == 0
    assert "plays        3, 0 with violations, 0 without a result" in capsys.readouterr().out
    sums = json.loads((tmp_path / "sums").read_text())
    assert (sums["plays"], sums["events"], sums["violations"], sums["failing"]) == (3, 300, {}, [])


def test_a_failing_seed_is_shrunk_kept_and_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "--seeds", "1..7", "-j", "2", "--keep-going", "--keep", str(tmp_path)], TOY) == 1
    said = capsys.readouterr().out
    assert "BROKEN       I4 in 1 of 7 plays" in said
    assert "BROKEN       I5 in 1 of 7 plays" in said
    assert "seed 3 profile mixed: 42 steps → 2" in said
    assert "├─ vpn name=blue kind=l2" in said
    assert "✗✗ I4: lyon.1 at lyon and nantes" in said
    kept = load(tmp_path / "i4-mixed-3.json")
    assert (kept.broke, len(kept.story.steps)) == ("I4", 2)
    assert main(["replay", "--story", str(tmp_path / "i4-mixed-3.json")], TOY) == 1


def test_the_first_violation_ends_it_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sums = tmp_path / "sums"
    assert main(["run", "--seeds", "3..1000", "-j", "1", "--plays", "0", "--json", str(sums)], TOY) == 1
    assert json.loads(sums.read_text())["plays"] == 1


def test_at_most_three_are_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--seeds", "1..40", "-j", "2", "--keep-going", "--plays", "3"], TOY) == 1
    said = capsys.readouterr().out
    assert said.count("budget spent") == 3
    assert "BROKEN       I4 in 4 of 40 plays" in said


def test_a_worker_that_dies_or_hangs_is_reported_and_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert main(["run", "--seeds", "1..6", "-j", "2", "--keep-going", "--patience", "15", "--plays", "0"], BAD) == 1
    said = capsys.readouterr().out
    assert "LOST         seed 2 profile mixed: the worker ended with 9" in said
    assert "LOST         seed 4 profile mixed: no result after 15 s" in said
    assert "plays        4, 1 with violations, 2 without a result" in said
    assert time.monotonic() - began < 120


def test_no_play_starts_after_the_time_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    code = main(["run", "--seeds", "1..", "--seconds", "2", "--keep-going", "-j", "2", "--plays", "0"], TOY)
    assert code in (0, 1)  # on a busy machine no seed that breaks something may have its turn
    assert time.monotonic() - began < 60


def test_check_finds_what_depends_on_the_order_of_a_set(capsys: pytest.CaptureFixture[str]) -> None:
    before = os.environ.get("PYTHONHASHSEED")
    assert main(["check", "1..2", "-j", "1"], TOY) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["1", "mixed"], ["2", "mixed"]]
    assert main(["check", "1", "-j", "1", "--plant", "unlike"], TOY) == 1
    assert "UNLIKE" in capsys.readouterr().out
    assert os.environ.get("PYTHONHASHSEED") == before


def test_replay_shows_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "3", "--full"], TOY) == 1
    said = capsys.readouterr().out
    assert "205.678000  asks    lyon  vpn name=blue" in said
    assert "trace " in said
    assert main(["replay", "4", "--mermaid"], TOY) == 0
    assert "sequenceDiagram" in capsys.readouterr().out
    assert main(["shrink", "4"], TOY) == 0
    assert main(["shrink", "3", "--plays", "10"], TOY) == 1


@pytest.mark.parametrize(
    "wrong", [["run", "--profile", "none-such"], ["run", "--seeds", "x"], ["check"], [], ["replay", "--profile", "x"]]
)
def test_usage_is_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(wrong, TOY)
    assert end.value.code == 2


def test_ctrl_c_ends_it_with_all_its_workers(tmp_path: Path) -> None:
    """As a terminal does it: the signal goes to the whole group."""
    started = tmp_path / "started"
    script = (
        "import sys\nfrom intertie.testing.simulator.main import main\nfrom tests.simulator.toy import ENDLESS\n"
        "if __name__ == '__main__':\n    sys.exit(main(['run', '--seeds', '1..9', '-j', '2'], ENDLESS))\n"
    )
    (tmp_path / "script.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"],
        env={**os.environ, STARTED: str(started), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 120
        while not started.exists() or len(started.read_text().split()) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "plays        1, 0 with violations" in out
    assert err == ""
    assert not [pid for pid in started.read_text().split() if Path("/proc", pid).exists()]
