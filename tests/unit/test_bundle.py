"""The support bundle: everything that helps, and no secret, wherever one lives."""

from __future__ import annotations

import io
import json
import logging
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from intertie import logs
from intertie.api import build, scrub
from intertie.federation import keys
from intertie.federation.peer_transport import TlsTransport
from intertie.model.bodies import TransportFacts
from intertie.site_file import init_site, read_site
from intertie.surroundings import AgentSurroundings
from intertie.wiring import SystemClock
from tests.unit.api_lab import Api, federation, virtually, wish
from tests.unit.cli_run import Runner
from tests.unit.cli_site import Answer, Site

CANARY = "c4n4ry"
PASSWORD = f"{CANARY}-p@ss/w:rd"
URL = f"postgresql://intertie:{PASSWORD}@db.example/intertie"
FILES = {
    *("site.json", "peers.json", "networks.json", "vpns.json", "plan.json", "events.json", "records.json"),
    *("store.json", "settings.json", "machine.json", "metrics.txt", "log.txt"),
}


async def facts() -> tuple[TransportFacts, ...]:
    return (TransportFacts(name="vxlan", ok=False, l2=False, l3=False, overhead=50, reason=f"no way to {URL}"),)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site's directory with a secret in every place that may hold one."""
    state = init_site("nantes", tmp_path / "site", underlay="192.0.2.1")
    with (state / "site.toml").open("a") as file:
        file.write(f'tls_certificate = "{URL}"\ntls_key = "{state}/key.pem"\n')
    (state / "key.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n")
    (state / "keys" / "pins.json").write_text("{}")
    monkeypatch.setenv("PGPASSWORD", CANARY)
    return state


async def planted(place: Path) -> tuple[Any, Api, list[str]]:
    """nantes with its real surroundings, and the secrets that are to stay here."""
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    ring = logs.configure("json", io.StringIO())
    root = keys.load(place)
    transport = TlsTransport(root, SystemClock().now)
    around = AgentSurroundings(read_site(place), place / "intertie.db", transport, ring.lines, facts)
    services = replace(api.services, surroundings=around)
    api = Api(api.site, services, build(services))
    await world.net("nantes", "blue", "10.0.0.0/24")
    await api.post("/v1/vpns", wish("blue", "l2", "nantes:blue", "lyon"), Prefer="wait=10", Idempotency_Key=CANARY)
    token = (await api.post("/v1/tokens", {"project": "demo", "role": "admin"})).json()["token"]
    invitation = (await api.post("/v1/invitations", {"name": "brest"})).json()["token"]
    local = api.site.agent.local
    hashes = [json.loads(e)["hash"] for space in ("token", "invitation") for e in local[space].values()]
    pem = (place / "keys" / "root.pem").read_text()
    log = structlog.get_logger()
    log.warning("failed", why=f"connect to {URL} as Bearer {CANARY}", password=PASSWORD)
    log.warning("failed", why=f"given token {token} and invitation itj1.{CANARY}x", hash=hashes[0])
    log.warning("failed", why=pem, authorization=f"Basic {CANARY}")
    logging.getLogger("library").warning("dsn host=db password='%s' user=x", CANARY)
    api.site.agent.warn("failed", "", "nantes", f"cannot write to {URL}: {hashes[1]}")
    secret_lines = [line for line in pem.splitlines() if "-----" not in line][:2]
    return world, api, [CANARY, token, invitation.split()[-1], *hashes, *secret_lines]


@pytest.fixture
def quiet_log() -> Any:
    yield
    structlog.reset_defaults()
    logging.basicConfig(force=True)


@pytest.mark.usefixtures("quiet_log")
@virtually
async def test_no_secret_is_in_it(place: Path) -> None:
    world, api, secrets = await planted(place)
    answer = await api.get("/v1/bundle")
    files = answer.json()["files"]
    assert files.keys() == FILES
    for secret in secrets:
        found = [name for name, text in files.items() if secret in text]
        assert found == [], (secret, found)
    # They were there to be left out, and what stands beside them is told.
    assert "failed" in files["log.txt"]
    assert "db.example" in files["log.txt"]
    assert files["log.txt"].count(scrub.GONE) >= 7
    assert "db.example" in json.loads(files["settings.json"])["tls_certificate"]
    assert "db.example" in files["events.json"]
    assert "db.example" in json.loads(files["machine.json"])["transports"][0]["reason"]
    await world.close()


@pytest.mark.usefixtures("quiet_log")
@virtually
async def test_what_helps_is_in_it(place: Path) -> None:
    world, api, _ = await planted(place)
    files = (await api.get("/v1/bundle")).json()["files"]
    read = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
    assert read["site.json"]["site"]["name"] == "nantes"
    assert [p["name"] for p in read["peers.json"]["peers"]] == ["lyon"]
    assert [v["name"] for v in read["vpns.json"]] == ["blue"]
    kinds = {r["header"]["kind"] for r in read["records.json"]}
    assert {"vpn", "answer", "site", "introduction", "grant"} <= kinds
    local = {each["space"]: each["entries"] for each in read["store.json"]["local"]}
    assert local.items() >= {"token": 1, "invitation": 2, "idempotency": 1}.items()
    assert read["settings.json"]["underlay"] == "192.0.2.1"
    assert {"kernel", "modules", "sysctl", "capabilities"} <= read["machine.json"].keys()
    assert "intertie_peers{" in files["metrics.txt"]
    assert read["events.json"][-1]["kind"] == "failed"
    assert "was not renewed or cannot be read" in str(read["site.json"]["warnings"])
    await world.close()


@virtually
async def test_it_is_made_where_things_are_broken() -> None:
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    world.days["nantes"].failing = 1
    world.disks["nantes"].failures = 5
    answer = await api.get("/v1/bundle")
    assert answer.status_code == 200
    assert answer.json()["files"].keys() == FILES
    await world.close()


@pytest.mark.parametrize(
    "said",
    [
        URL,
        f"'{URL}'",
        f"redis://:{CANARY}@h:6379/0",
        f"https://{CANARY}@host/x.git",
        f"host=h password={CANARY} dbname=d",
        f"host=h password='{CANARY} {CANARY}' dbname=d",
        f'{{"password": "{CANARY} \\" {CANARY}"}}',
        f'{{\\"db_password\\": \\"{CANARY}\\"}}',
        f"postgresql://h/d?user=u&password={CANARY}&x=1",
        f"Authorization: Bearer {CANARY}",
        f"authorization=Basic {CANARY}==",
        f"itk_{CANARY}-_x",
        f"intertie site join itj1.{CANARY}.ab-_=",
        f"-----BEGIN EC PRIVATE KEY-----\\n{CANARY}\\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
        f"api_token: {CANARY}",
    ],
)
def test_texts_are_scrubbed(said: str) -> None:
    assert CANARY not in scrub.text(said)
    assert CANARY not in scrub.text(f"before {said} after")
    assert scrub.text(f"before {said}").startswith("before ")


@pytest.mark.parametrize(
    "field", ["password", "db_password", "token", "secret", "hash", "private_key", "api_key", "key"]
)
def test_fields_are_scrubbed_by_their_names(field: str) -> None:
    found = scrub.value({"a": [{field: CANARY, "name": "blue"}]})
    assert found == {"a": [{field: scrub.GONE, "name": "blue"}]}


@pytest.mark.parametrize(
    "said", ["10.20.0.0/24", "lyon: no answer at 192.0.2.1:7576", "http://127.0.0.1:7575/docs", "nantes.01k0blue/x"]
)
def test_what_is_no_secret_stays(said: str) -> None:
    assert scrub.text(said) == said
    assert scrub.value({"root_fingerprint": said, "digest": said}) == {"root_fingerprint": said, "digest": said}


# ── The command ────────────────────────────────────────────────────────────────────────────────────────────

BODY = {"site": "nantes", "made_at": "2026-11-22T03:00:00Z", "files": {"log.txt": "a line\n", "../x.json": "{}\n"}}


def test_the_command_packs_it(cli: Runner, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site.on("GET", "/v1/bundle", Answer(BODY))
    said = cli("bundle")
    path = tmp_path / "intertie-nantes-20261122030000.tar.gz"
    assert (said.code, path.name in said.err) == (0, True)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        # Wherever a name points, it is unpacked below one folder.
        assert tar.getnames() == [f"{path.name[:-7]}/log.txt", f"{path.name[:-7]}/x.json"]
        file = tar.extractfile(tar.getmembers()[0])
        assert file is not None
        assert file.read() == b"a line\n"


def test_the_command_writes_where_it_is_told_and_over_nothing(cli: Runner, site: Site, tmp_path: Path) -> None:
    site.on("GET", "/v1/bundle", Answer(BODY))
    path = tmp_path / "out.tgz"
    assert cli("bundle", "-o", str(path)).code == 0
    assert tarfile.is_tarfile(path)
    again = cli("bundle", "-o", str(path))
    assert (again.code, "is there already" in again.err) == (4, True)
    nowhere = cli("bundle", "-o", str(tmp_path / "no" / "out.tgz"))
    assert (nowhere.code, "No such file" in nowhere.err) == (1, True)
    assert os.listdir(tmp_path).count("out.tgz") == 1
