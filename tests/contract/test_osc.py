"""`openstack intertie …` and `intertie --os-cloud`: the real programs, a real API, and a Keystone of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.api_rig import Rig
from tests.contract.api_served import served
from tests.contract.fake_keystone import FakeKeystone, keystone

BIN = Path(sys.executable).parent
NEVER = "itk_0000000000000000000000000000000000000000000"
"""No agent knows it."""


class Cloud:
    """Programs that are run beside one cloud."""

    def __init__(self, fake: FakeKeystone, agent: str, folder: Path) -> None:
        self.fake = fake
        self.agent = agent
        self.folder = folder
        self.write()

    def write(self, **more: Any) -> None:
        (self.folder / "clouds.yaml").write_text(self.fake.clouds_yaml(**more))

    def run(self, program: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("OS_", "INTERTIE_", "XDG_"))}
        environment = {
            **kept,
            "HOME": str(self.folder),
            "OS_CLIENT_CONFIG_FILE": str(self.folder / "clouds.yaml"),
            "COLUMNS": "200",
            **more,
        }
        command = [str(BIN / program), "--os-cloud", "fake", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def osc(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run("openstack", *words, **more)

    def json(self, *words: str) -> Any:
        said = self.osc("intertie", *words, "-f", "json")
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.close()


@pytest.fixture(scope="module")
def agent(rig: Rig) -> Iterator[str]:
    with served(rig) as found:
        yield found


@pytest.fixture
def cloud(rig: Rig, agent: str, tmp_path: Path) -> Iterator[Cloud]:
    with keystone(FakeKeystone([rig.token], {"one": f"{agent}/v1"})) as fake:
        yield Cloud(fake, agent, tmp_path)


def test_a_vpn_from_its_plan_to_its_end(cloud: Cloud) -> None:
    wish = ("--kind", "l2", "--attach", "nantes:idle", "--attach", "lyon")
    plan = cloud.json("vpn", "create", "link", *wish, "--plan")
    assert {each["site"] for each in plan["changes"]} == {"nantes", "lyon"}
    made = cloud.json("vpn", "create", "link", *wish, "--wait", "60", "--base", plan["base_version"])
    assert (made["name"], made["phase"]) == ("link", "ready")
    assert [(each["site"], each["health"]) for each in made["members"]] == [("nantes", "ready"), ("lyon", "ready")]
    assert cloud.json("vpn", "show", "link")["id"] == made["id"]
    (row,) = cloud.json("vpn", "list", "--name", "link", "--long")
    assert (row["ID"], row["Members"], row["Home"]) == (made["id"], ["nantes", "lyon"], "nantes")
    assert cloud.json("vpn", "set", "link", "--name", "tie", "--wait", "60")["name"] == "tie"
    assert [each["OK"] for each in cloud.json("vpn", "verify", "tie")] == [True, True]
    gone = cloud.osc("intertie", "vpn", "delete", "tie", "nothing-of-that-name", "--wait", "60")
    assert gone.returncode == 1
    assert "Failed to delete Vpn nothing-of-that-name: " in gone.stderr
    assert "1 of 2 Vpns failed to delete." in gone.stderr
    assert cloud.json("vpn", "list", "--name", "tie") == []


def test_lists_have_filters_and_columns(cloud: Cloud) -> None:
    assert {row["Name"]: row["State"] for row in cloud.json("site", "list")} == {"nantes": "here", "lyon": "up"}
    assert [row["Name"] for row in cloud.json("site", "list", "--state", "up", "--long")] == ["lyon"]
    assert cloud.json("site", "show", "lyon")["fingerprint"]
    assert cloud.json("site", "show", "nantes")["transports"]["vxlan"]["ok"] is True
    (blue,) = cloud.json("network", "list", "--name", "blue", "--long")
    assert blue["Attachable"] in (True, False)
    assert [row["Name"] for row in cloud.json("host", "list")] == ["h"]
    assert cloud.json("host", "list", "--network", "nothing") == []
    assert cloud.json("vpn", "list", "--kind", "l3", "--member", "nowhere") == []
    said = cloud.osc("intertie", "vpn", "list", "--kind", "l2", "-f", "value", "-c", "Name", "-c", "Phase")
    assert "stretch ready" in said.stdout.splitlines()


def test_members_come_and_leave(cloud: Cloud) -> None:
    plan = cloud.osc("intertie", "vpn", "unset", "stretch", "--attach", "rennes", "--plan")
    assert (plan.returncode, "stretch has no member rennes" in plan.stderr) == (1, True)
    alone = cloud.osc("intertie", "vpn", "unset", "stretch", "--attach", "lyon", "--plan")
    assert (alone.returncode, "at least two sites" in alone.stderr) == (1, True)
    refused = cloud.osc("intertie", "vpn", "set", "stretch", "--attach", "nowhere")
    assert refused.returncode == 1
    assert "[unknown-site]" in refused.stderr
    assert cloud.json("vpn", "set", "stretch", "--plan")["changes"] == []


def test_a_token_that_is_refused_is_exchanged_once(cloud: Cloud, rig: Rig) -> None:
    cloud.fake.tokens = [NEVER, rig.token]
    assert cloud.json("vpn", "list")
    assert cloud.fake.logins == 2
    cloud.fake.tokens, cloud.fake.logins = [NEVER], 0
    said = cloud.osc("intertie", "vpn", "list")
    assert (said.returncode, "[unauthenticated]" in said.stderr) == (1, True)
    assert cloud.fake.logins == 2


def test_the_agent_is_named_by_option_environment_or_clouds_yaml(cloud: Cloud) -> None:
    cloud.fake.agents = {"two": "http://127.0.0.1:1"}
    nowhere = cloud.osc("intertie", "site", "list")
    assert (nowhere.returncode, "--os-intertie-endpoint" in nowhere.stderr) == (1, True)
    assert "lyon" in cloud.osc("--os-intertie-endpoint", cloud.agent, "intertie", "site", "list").stdout
    assert "lyon" in cloud.osc("intertie", "site", "list", OS_INTERTIE_ENDPOINT=cloud.agent).stdout
    cloud.write(region_name="two")
    assert "no agent answers" in cloud.osc("intertie", "site", "list").stderr
    cloud.write(inter_site_networking_endpoint_override=cloud.agent)
    assert "lyon" in cloud.osc("intertie", "site", "list").stdout
    assert "lyon" in cloud.run("intertie", "site", "list").stdout


def test_our_own_program_takes_a_cloud(cloud: Cloud) -> None:
    said = cloud.run("intertie", "vpn", "list", "-o", "json")
    assert said.returncode == 0, said.stderr
    assert "stretch" in {each["name"] for each in json.loads(said.stdout)["items"]}
    both = cloud.run("intertie", "vpn", "list", "--token", "itk_x")
    assert (both.returncode, "--os-cloud says who calls" in both.stderr) == (2, True)
    cloud.fake.agents = {}
    none = cloud.run("intertie", "vpn", "list", "-o", "json")
    assert (none.returncode, json.loads(none.stderr)["code"]) == (2, "usage")
    assert "lyon" in cloud.run("intertie", "--url", cloud.agent, "site", "list").stdout


def test_what_keystone_says_is_told(cloud: Cloud) -> None:
    text = (cloud.folder / "clouds.yaml").read_text()
    (cloud.folder / "clouds.yaml").write_text(text.replace("correct horse", "wrong"))
    said = cloud.run("intertie", "vpn", "list", "-o", "json")
    assert (said.returncode, json.loads(said.stderr)["code"]) == (2, "unauthenticated")
    (cloud.folder / "clouds.yaml").write_text(text.replace(cloud.fake.url, "http://127.0.0.1:1/v3"))
    silent = cloud.run("intertie", "vpn", "list", "-o", "json")
    assert (silent.returncode, json.loads(silent.stderr)["code"]) == (2, "unreachable")
    (cloud.folder / "clouds.yaml").write_text('{"clouds": {}}')
    unknown = cloud.run("intertie", "vpn", "list", "-o", "json")
    assert (unknown.returncode, json.loads(unknown.stderr)["code"]) == (2, "usage")
