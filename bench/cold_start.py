"""`cold-start`: how soon an agent that was not there answers, with 10,000 Vpns in its store and no peer; and what
hosts lose while an agent is killed and started again.

The first is counted from the start of the process to the first answer, imports included; beside it, the bare app. Its
data plane, a fake, holds everything already, as a kernel that went on would. The second is a real agent in the demo's
namespaces, killed with SIGKILL under a ping every 10 ms.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.ballast import lay
from bench.children import child
from bench.figures import ROOT, Figure

AIM = 0.5
INTERTIE = str(ROOT / ".venv" / "bin" / "intertie")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    vpns: int = 10_000
    runs: int = 3
    kills: int = 3


SIZES = {"full": Size(), "tiny": Size(vpns=50, runs=1, kills=1)}


def run(size: str) -> list[Figure]:
    told = SIZES[size]
    return [*_first_read(told), *_killed(told.kills)]


# ── The first read ─────────────────────────────────────────────────────────────────────────────────────────


def _first_read(size: Size) -> list[Figure]:
    with TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        asyncio.run(lay(site, size.vpns))
        pairs = [
            (_seconds("bench.serving", str(site), str(size.vpns)), _seconds("bench.bare", folder))
            for _ in range(size.runs)
        ]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    judged = size.vpns == Size().vpns
    return [
        Figure(
            what=f"first read with {size.vpns:,} Vpns and no peer",
            ours=ours,
            unit="s",
            baseline=bare,
            beside="bare FastAPI, empty",
            ratio=ours / bare,
            aim=f"≤ {AIM:g} s" if judged else "",
            met=ours <= AIM if judged else None,
        )
    ]


def _seconds(module: str, *words: str) -> float:
    """From the start of the process to the first page of its Vpns."""
    begun = time.monotonic()
    with child(module, *words) as server:
        port, token, *_ = server.said.split()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/vpns?limit=10", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        return time.monotonic() - begun


# ── Killed under a ping ────────────────────────────────────────────────────────────────────────────────────


def _killed(kills: int) -> list[Figure]:
    with TemporaryDirectory() as place, _demo(place) as serving:
        environment = {**os.environ, "INTERTIE_DEMO_DIR": place}
        home = serving["sites"][0]["name"]
        sent = lost = 0
        longest, hosts = 0.0, _pair(place)
        with _ping(environment, *hosts) as ping:
            for _ in range(kills):
                time.sleep(0.5)
                _demo_command(environment, "kill", home)
                time.sleep(0.5)
                _demo_command(environment, "start", home)
                time.sleep(2.0)
            ping.send_signal(signal.SIGINT)
            said = ping.communicate(timeout=30)[0]
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        silence = re.search(r"longest silence (\d+) ms", said)
        if found is None or silence is None:
            raise RuntimeError(said)
        sent, lost = int(found[1]), int(found[1]) - int(found[2])
        longest = float(silence[1])
    return [
        Figure(what=f"packets lost of {sent:,}, the home's agent killed and started {kills} ×", ours=lost, unit="",
               aim="0", met=lost == 0),
        Figure(what="longest silence between two echoes, one sent every 10 ms", ours=longest, unit="ms"),
    ]  # fmt: skip


def _pair(place: str) -> tuple[str, str]:
    """Two hosts of the stretched network, at two sites."""
    hosts = json.loads((Path(place) / "serving.json").read_text())["hosts"]
    first = hosts[0]
    network = first["address"].rpartition(".")[0]
    others = (h for h in hosts if h["site"] != first["site"] and h["address"].rpartition(".")[0] == network)
    return first["name"], next(others)["name"]


@contextmanager
def _demo(place: str) -> Iterator[dict[str, Any]]:
    """A demo that serves; what it said when it was up."""
    words = [INTERTIE, "demo", "--port", "17575", "-o", "json"]
    environment = {**os.environ, "INTERTIE_DEMO_DIR": place}
    demo = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == "serving":
                yield told
                break
        else:
            raise RuntimeError(f"the demo ended with {demo.wait()}")
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)


def _demo_command(environment: dict[str, str], *words: str) -> None:
    subprocess.run([INTERTIE, "demo", *words], env=environment, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _ping(environment: dict[str, str], host: str, target: str) -> Iterator[subprocess.Popen[str]]:
    words = [INTERTIE, "demo", "ping", host, target, "-i", "0.01"]
    ping = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield ping
    finally:
        ping.kill()
        ping.wait()
