"""The README's first command, as it stands there: what `make test` itself cannot be, `make demo` is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_make_demo_checks_itself_and_says_so_on_stdout_alone(base: Path, port: int) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", f"ARGS=--check -o json --port {port}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, "set-up and progress speak on stderr"
    told = json.loads(lines[0])
    assert told["ok"] is True
    assert [vpn["kind"] for vpn in told["vpns"]] == ["l2", "l3"]
    assert all(pair["ok"] and pair["mtu"] == vpn["mtu"] for vpn in told["vpns"] for pair in vpn["pairs"])
    assert not base.exists()
