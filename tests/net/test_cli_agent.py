"""The command line and a real agent: made, started, asked and stopped as an operator would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 60.0


class Operator:
    """`intertie WORDS…` in a process of its own, with the site's directory in the environment."""

    def __init__(self, dir: Path) -> None:
        self.dir = dir
        self._environment = {"PATH": os.defpath, "HOME": str(dir.parent), "INTERTIE_DIR": str(dir)}

    def start(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as stream:
            return subprocess.Popen(self._argv(words), env=self._environment, stdout=stream, stderr=stream)

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._argv(words), env=self._environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def code(self, *words: str) -> int:
        return self(*words).returncode

    def _argv(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "intertie", *words]


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator of the site nantes, whose agent runs."""
    dir = tmp_path_factory.mktemp("site") / "nantes"
    found = Operator(dir)
    assert found.code("status") == 2, "nobody is there yet"
    assert found.code("init", "--name", "nantes", "--location", "47.218,-1.554", "--underlay", "127.0.0.1") == 0
    assert found.code("init", "--name", "nantes") == 4, "a site is not made twice"
    log = dir.parent / "log"
    agent = found.start("agent", "run", log=log)
    try:
        until = time.monotonic() + PATIENCE
        while found.code("status") != 0:
            assert agent.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
        yield found
    finally:
        agent.send_signal(signal.SIGTERM)
        ended = agent.wait(PATIENCE)
    assert ended == 0, log.read_text()


def test_what_an_operator_does_first(operator: Operator) -> None:
    made = json.loads(operator("network", "create", "blue", "10.20.0.0/24,fd10:20::/64", "-o", "json").stdout)
    assert (made["name"], made["project"], made["prefixes"]) == ("blue", "demo", ["10.20.0.0/24", "fd10:20::/64"])
    assert operator.code("network", "create", "blue", "10.21.0.0/24") == 4
    assert operator.code("network", "create", "small", "10.21.0.0/32") == 4
    assert operator.code("network", "create", "wrong", "10.21.0.1/24") == 2
    host = json.loads(operator("host", "create", "web", "--network", "blue", "-o", "json").stdout)
    assert host["addresses"] == ["10.20.0.2", "fd10:20::2"]
    listed = operator("host", "list").stdout.splitlines()
    assert [line.split()[:3] for line in listed[1:]] == [["web", "blue", "10.20.0.2,fd10:20::2"]]
    assert operator.code("network", "delete", "blue") == 4, "a host is on it"
    assert operator.code("host", "delete", "web") == 0
    assert operator.code("host", "delete", "web") == 1
    assert operator.code("network", "delete", made["id"]) == 0


def test_other_projects_are_the_operators_to_name(operator: Operator) -> None:
    made = json.loads(operator("network", "create", "lab", "10.30.0.0/24", "--project", "lab", "-o", "json").stdout)
    assert made["project"] == "lab"
    assert operator.code("network", "delete", "lab") == 0


def test_tokens_carry_a_role_over_tcp(operator: Operator) -> None:
    secret = operator("token", "create", "--project", "demo", "--role", "reader").stdout.strip()
    assert operator.code("vpn", "list", "--token", secret) == 0
    assert operator.code("network", "create", "red", "10.22.0.0/24", "--token", secret) == 4
    assert operator.code("vpn", "list", "--token", "itk_guessed") == 2
    assert operator.code("vpn", "list", "--url", "http://127.0.0.1:7575") == 2, "over TCP a token is needed"
    (reader,) = [
        t for t in json.loads(operator("token", "list", "-o", "json").stdout)["items"] if t["role"] == "reader"
    ]
    assert operator.code("token", "revoke", reader["id"]) == 0
    assert operator.code("vpn", "list", "--token", secret) == 2


def test_vpns_that_cannot_be(operator: Operator) -> None:
    assert operator.code("network", "create", "green", "10.23.0.0/24") == 0
    said = operator("vpn", "create", "x", "--kind", "l2", "-a", "nantes:green", "-a", "lyon", "-o", "json")
    assert said.returncode == 4
    problem = json.loads(said.stderr)
    assert (problem["code"], problem["status"], problem["sites"]) == ("unknown-site", 422, ["lyon"])
    assert operator.code("vpn", "create", "x", "--kind", "l2", "-a", "nantes:green", "-a", "lyon", "--plan") == 4
    assert operator.code("vpn", "create", "x", "--kind", "l2", "-a", "nantes:green") == 2
    assert operator.code("vpn", "show", "x") == 1
    assert operator.code("vpn", "show", "nantes.01ARZ3NDEKTSV4RRFFQ69G5FAV") == 1
    assert operator("vpn", "list").stdout == ""


def test_sites(operator: Operator) -> None:
    shown = json.loads(operator("site", "show", "nantes", "-o", "json").stdout)
    assert shown["location"] == {"lat": 47.218, "lon": -1.554}
    assert shown["transports"]["vxlan"]["ok"] is True
    invited = operator("site", "invite", "lyon", "--expires", "30m")
    assert len(invited.stdout.split()) == 1
    assert operator.code("site", "join", invited.stdout.strip()) == 2, "it is lyon's"
    assert operator.code("site", "map", "lyon", "demo", "demo") == 1
    assert operator.code("site", "forget", "lyon") == 1
    told = json.loads(operator("status", "-o", "json").stdout)
    assert told["site"] == shown
    assert told["peers"]["items"] == []
