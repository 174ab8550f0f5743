"""What an operator is told before it hurts: certificates that end, and those that were not renewed."""

from __future__ import annotations

import asyncio
import os
import resource
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from prometheus_client.parser import text_string_to_metric_families

from intertie.agent.ports import Certificate, Nowhere
from intertie.agent.upkeep import LOOK, Watch, warnings
from intertie.api import build
from intertie.federation import keys
from intertie.federation.peer_transport import TlsTransport
from intertie.model.bodies import TransportFacts
from intertie.site_file import SiteFile
from intertie.surroundings import AgentSurroundings
from tests.unit.api_lab import Api, federation, one_site, virtually
from tests.unit.cli_run import Runner
from tests.unit.cli_site import SITE, Answer, Site, items

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


async def facts() -> tuple[TransportFacts, ...]:
    return (TransportFacts(name="vxlan", ok=True, l2=True, l3=True, overhead=50),)


class Given(Nowhere):
    """Surroundings whose certificates are as a test says."""

    def __init__(self, *found: Certificate) -> None:
        self.found: Sequence[Certificate] = found

    def certificates(self, roots: Mapping[str, str]) -> Sequence[Certificate]:
        return self.found


def pem(path: Path, ends: datetime) -> Path:
    """A self-signed certificate of the user API."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(days=300)).not_valid_after(ends)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return path


@virtually
async def test_a_certificate_that_ends_is_told_of_once_a_day() -> None:
    world, apis = await federation("nantes", "lyon")
    agent = apis["nantes"].site.agent
    now = agent.now()
    given = Given(
        Certificate(kind="root", site="nantes", ends=now + timedelta(days=3000)),
        Certificate(kind="root", site="lyon", ends=now + timedelta(days=29, hours=1)),
        Certificate(kind="users", site="nantes", ends=now - timedelta(days=1)),
        Certificate(kind="tls", site="nantes", ends=now + timedelta(hours=10), rotates=True),
    )
    watch = Watch(agent, given)
    await world.close()  # days pass quicker where nobody is
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(5 * LOOK)
    told = [e for e in agent.events if e.kind == "certificate"]
    assert [e.site for e in told] == ["lyon", "nantes"]
    assert f"the root certificate of lyon ends {now + timedelta(days=29, hours=1):%F}, in 29 days" == told[0].what
    assert told[1].what.startswith("the certificate of the API ended")
    await asyncio.sleep(86400)
    assert len([e for e in agent.events if e.kind == "certificate"]) == 4
    # Renewed: silence, and a word again when the next one comes to its end.
    given.found = ()
    await asyncio.sleep(2 * 86400)
    assert len([e for e in agent.events if e.kind == "certificate"]) == 4
    task.cancel()


@virtually
async def test_status_and_metrics_tell_of_it_too() -> None:
    world, api = await one_site()
    agent = api.site.agent
    soon = agent.now() + timedelta(days=10)
    given = Given(
        Certificate(kind="users", site="nantes", ends=soon),
        Certificate(kind="tls", site="nantes", ends=soon, rotates=True, problem="no file descriptors"),
    )
    services = replace(api.services, surroundings=given)
    api = Api(api.site, services, build(services))
    told = (await api.get("/v1/site")).json()["warnings"]
    assert [w.partition(f"{soon:%F}")[0] for w in told] == [
        "the certificate of the API ends ",
        "the certificate of nantes towards peers was not renewed or cannot be read: no file descriptors; it ends ",
    ]
    assert (await api.get("/v1/site", await api.token("reader"))).json()["warnings"] == []
    text = (await api.get("/metrics", "")).text
    found = {
        (s.name, s.labels.get("certificate")): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }
    assert found["intertie_certificate_expiry_timestamp_seconds", "users"] == pytest.approx(soon.timestamp())
    assert found["intertie_certificate_flawed", "users"] == found["intertie_certificate_flawed", "tls"] == 1
    agent.settings = replace(agent.settings, certificate_days=9)
    assert len(warnings(agent, given)) == 1
    await world.close()


def test_the_certificates_of_an_agent_are_read_where_they_are(tmp_path: Path) -> None:
    root, peer = keys.create(tmp_path / "a", "nantes"), keys.create(tmp_path / "b", "lyon")
    ends = NOW + timedelta(days=20)
    site = SiteFile(name="nantes", tls_certificate=str(pem(tmp_path / "api.pem", ends)))
    clock = Clock()
    around = AgentSurroundings(site, tmp_path / "intertie.db", TlsTransport(root, clock), tuple, facts)
    found = around.certificates({"lyon": b64encode(peer.root.der).decode(), "metz": "bm8="})
    by = {(c.kind, c.site): c for c in found}
    assert by["root", "nantes"].ends == by["root", "lyon"].ends == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert by["users", "nantes"].ends == ends
    assert by["tls", "nantes"].ends == NOW + timedelta(hours=24)
    assert by["root", "metz"].problem
    # The leaf is renewed by looking at it, long before its end.
    clock.at += timedelta(hours=13)
    assert {c.kind: c.ends for c in around.certificates({})}["tls"] == clock.at + timedelta(hours=24)
    (tmp_path / "api.pem").write_text("no certificate")
    assert {c.kind: c.problem for c in around.certificates({})}["users"].startswith(str(tmp_path))


@contextmanager
def no_files_left() -> Iterator[None]:
    """The process may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/dev/null", os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_leaf_that_cannot_be_renewed_serves_on_and_is_told_of(tmp_path: Path) -> None:
    clock = Clock()
    transport = TlsTransport(keys.create(tmp_path, "nantes"), clock)
    first, problem = transport.certificate()
    assert problem == ""
    clock.at += timedelta(hours=13)
    with structlog.testing.capture_logs() as lines, no_files_left():
        for _ in range(3):
            ends, problem = transport.certificate()
            assert (ends, "Too many open files" in problem) == (first, True)
    assert [line["event"] for line in lines] == ["certificate not renewed"]
    assert transport.certificate() == (clock.at + timedelta(hours=24), "")
    clock.at += timedelta(hours=25)
    with no_files_left():
        assert transport.certificate()[0] is None


def test_status_shows_what_to_look_at(cli: Runner, site: Site) -> None:
    words = "the certificate of the API ends 2026-12-01, in 9 days"
    site.on("GET", "/v1/site", Answer({**SITE, "warnings": [words]}))
    for path in ("/v1/peers", "/v1/vpns"):
        site.on("GET", path, items())
    site.on("GET", "/v1/plan", Answer({"base_version": "1.1", "changes": [], "orphans": [], "kept": []}))
    said = cli("status")
    assert (said.code, said.out.splitlines()[1]) == (0, f"! {words}")
