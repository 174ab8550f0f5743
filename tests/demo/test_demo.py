"""The demo as a newcomer meets it: the real agents, the real story, every line that it says works."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.demo.conftest import Traces

INTERTIE = Path(sys.executable).with_name("intertie")
NAMES = ("nantes", "lyon", "rennes")


def demo(*arguments: str) -> subprocess.Popen[str]:
    command = [str(INTERTIE), "demo", *arguments]
    return subprocess.Popen(
        command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def checked(port: int, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """A `--check`: exit code, what its last line says, and what it said on stderr."""
    with demo("--check", "--port", str(port), *arguments) as running:
        out, err = running.communicate(timeout=240)
    return running.returncode, json.loads(out.splitlines()[-1]), err


@pytest.mark.parametrize("count", [3, 5])
def test_check_is_green_and_leaves_nothing(base: Path, port: int, look: Callable[[], Traces], count: int) -> None:
    before = look()
    code, told, err = checked(port, "-o", "json", "--sites", str(count))
    assert (code, told["ok"]) == (0, True), err
    sites = [site["name"] for site in told["sites"]]
    assert len(set(sites)) == count
    assert [vpn["kind"] for vpn in told["vpns"]] == ["l2", "l3"]
    for vpn in told["vpns"]:
        assert vpn["accepted_ms"] <= vpn["ready_ms"]
        answered = {frozenset((pair["from"]["site"], pair["to"]["site"])) for pair in vpn["pairs"] if pair["ok"]}
        assert answered == {frozenset(pair) for pair in combinations(sites, 2)}
        assert all(pair["ok"] and pair["rtt_ms"] > 0 and pair["mtu"] == vpn["mtu"] for pair in vpn["pairs"])
    assert all(step["ms"] >= 0 for step in told["steps"])
    assert not base.exists()
    assert look() == before


def serving(port: int, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """A demo that serves, and what it said on stdout until it was up."""
    running = demo("--port", str(port), *arguments)
    assert running.stdout is not None
    assert running.stderr is not None
    said = ""
    while not re.search(r'"event": ?"serving"|^Ctrl-C ends', said, re.MULTILINE):
        line = running.stdout.readline()
        assert line, f"it ended: {said} {running.stderr.read()}"
        said += line
    return running, said


def ended(running: subprocess.Popen[str], number: int) -> tuple[int, str]:
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    return running.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_serving_demo_serves_and_goes_without_a_trace(
    base: Path, port: int, look: Callable[[], Traces], number: int
) -> None:
    before = look()
    running, said = serving(port, "-o", "json")
    told = json.loads(said)
    assert (told["event"], told["pid"]) == ("serving", running.pid)
    assert [site["name"] for site in told["sites"]] == list(NAMES)
    for index, site in enumerate(told["sites"]):
        assert site["url"] == f"http://127.0.0.1:{port + index}"
        for token in ("token", "admin_token"):
            answer = httpx.get(f"{site['url']}/v1/vpns", headers={"Authorization": f"Bearer {site[token]}"})
            assert {vpn["name"] for vpn in answer.json()["items"]} >= {"blue", "db"}
        assert httpx.get(f"{site['url']}/v1/vpns").status_code == 401
        assert httpx.get(f"{site['url']}/docs").status_code == 200
    with demo("--port", str(port)) as second:
        _, refused = second.communicate(timeout=30)
    assert second.returncode == 2
    assert f"pid {running.pid}" in refused
    assert ended(running, number)[0] == 0
    assert not base.exists()
    assert look() == before


@pytest.mark.parametrize("after", ["namespaces", "agents", "enrolment"])
def test_an_interrupt_while_it_works_leaves_nothing(
    base: Path, port: int, look: Callable[[], Traces], after: str
) -> None:
    before = look()
    running = demo("--port", str(port), "--check", "-o", "json")
    assert running.stderr is not None
    while after not in (line := running.stderr.readline()):
        assert line, "it ended"
    code, err = ended(running, signal.SIGINT)
    assert code == 1
    assert "SIGINT" in err
    assert not base.exists()
    assert look() == before


def test_a_transport_that_no_site_has_is_refused_with_the_reason(base: Path, port: int) -> None:
    code, told, err = checked(port, "-o", "json", "--transport", "carrier-pigeon")
    problem = json.loads(err.splitlines()[-1])
    assert (code, told["ok"], problem["code"]) == (4, False, "no-common-transport")
    assert "carrier-pigeon" in problem["detail"]
    assert not base.exists()


# --- the lines that it prints


@pytest.fixture
def lines(base: Path, port: int) -> Iterator[list[str]]:
    """What a serving demo tells to try next, as it stands."""
    running, said = serving(port)
    yield said[said.index("# in another terminal") :].partition("\n\n")[0].splitlines()
    assert ended(running, signal.SIGTERM)[0] == 0


def shell(script: list[str]) -> subprocess.CompletedProcess[str]:
    """Paste lines into another terminal (without its keyboard)."""
    command = ["sh", "-e", "-c", "\n".join(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)


@contextmanager
def pinging(command: str, said: Path) -> Iterator[Callable[[], str]]:
    """A ping that beats meanwhile, into the file `said`; what is yielded ends it and gives its summary."""
    with said.open("wb") as out, subprocess.Popen(["sh", "-c", f"exec {command}"], stdout=out) as going:

        def summary() -> str:
            going.send_signal(signal.SIGINT)
            going.wait(30)
            return said.read_text()[-600:]

        until = time.monotonic() + 20
        while "icmp_seq=20 " not in said.read_text():
            assert going.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.05)
        yield summary


NO_LOSS = re.compile(r"(\d+) packets transmitted, \1 received, 0% packet loss")


def test_every_line_it_prints_works_and_a_killed_agent_loses_no_packet(lines: list[str], tmp_path: Path) -> None:
    export = [line for line in lines if line.startswith("export ")]
    commands = [line for line in lines if " demo " in line or " vpn " in line]
    ping = next(line for line in commands if " demo ping " in line)
    others = [line for line in commands if line != ping]
    with pinging(ping, tmp_path / "ping") as summary:
        for command in others:
            done = shell([*export, command])
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert "blue" in done.stdout or " vpn " not in command
        assert NO_LOSS.search(said := summary()), said
    docs = next(re.findall(r"http://\S+/docs", line)[0] for line in lines if "/docs" in line)
    assert httpx.get(docs).status_code == 200


def test_an_agent_that_lost_its_database_loses_no_packet(
    lines: list[str], base: Path, port: int, tmp_path: Path
) -> None:
    intertie = next(line for line in lines if " demo cut " in line).split(" demo ")[0]
    with pinging(f"{intertie} demo ping blue-lyon blue-nantes --interval 0.01", tmp_path / "ping") as summary:
        assert shell([f"{intertie} demo kill lyon"]).returncode == 0
        lost = list((base / "sites" / "lyon").glob("intertie.db*"))
        assert lost
        for path in lost:
            path.unlink()
        assert shell([f"{intertie} demo start lyon"]).returncode == 0
        until = time.monotonic() + 30
        while httpx.get(f"http://127.0.0.1:{port + 1}/readyz", timeout=30).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert (base / "sites" / "lyon" / "intertie.db").exists()
        shell([f"{intertie} demo ping blue-nantes blue-lyon --interval 0.1 --count 60"])  # and its next rounds
        assert NO_LOSS.search(said := summary()), said


def test_a_cut_backbone_loses_packets_and_healing_brings_them_back(lines: list[str]) -> None:
    intertie = next(line for line in lines if " demo cut " in line).split(" demo ")[0]
    ping = f"{intertie} demo ping blue-nantes blue-rennes --interval 0.02 --count 5"
    assert "5 received" in shell([ping]).stdout
    assert shell([f"{intertie} demo cut nantes rennes"]).returncode == 0
    assert "0 received" in shell([f"{ping} || true"]).stdout
    assert "5 received" in shell([ping.replace("blue-rennes", "blue-lyon")]).stdout
    assert shell([f"{intertie} demo heal"]).returncode == 0
    assert "5 received" in shell([ping]).stdout
