"""What a real agent shows of itself: its log, its metrics, and the bundle made of both."""

from __future__ import annotations

import json
import signal
import tarfile
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.net.test_cli_agent import PATIENCE, Operator


def test_a_real_agents_log_metrics_and_bundle(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "nantes")
    assert operator.code("init", "--name", "nantes", "--underlay", "127.0.0.1") == 0
    with (operator.dir / "site.toml").open("a") as file:
        file.write('log = "json"\n')
    log = tmp_path / "log"
    agent = operator.start("agent", "run", log=log)
    try:
        until = time.monotonic() + PATIENCE
        while operator.code("status") != 0:
            assert agent.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
        token = operator("token", "create", "--role", "member").stdout.strip()
        with httpx.Client(base_url="http://127.0.0.1:7575", headers={"Authorization": f"Bearer {token}"}) as client:
            body = {"name": "blue", "prefix": "10.20.0.0/24"}
            made = client.post("/v1/networks", json=body, headers={"X-Request-Id": "mine-1"})
            assert (made.status_code, made.headers["x-request-id"]) == (201, "mine-1")
            assert client.get("/v1/bundle").status_code == 403
            text = client.get("/metrics").text
        out = tmp_path / "bundle.tar.gz"
        assert operator.code("bundle", "-o", str(out)) == 0
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE) == 0, log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    ours = [line["event"] for line in lines if line.get("request") == "mine-1"]
    assert {"network", "change", "request"} <= set(ours)
    found = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert found["intertie_store_size_bytes"] > 4096
    assert found["intertie_store_free_bytes"] > 0
    with tarfile.open(out) as tar:
        files = {Path(member.name).name: tar.extractfile(member) for member in tar}
        read = {name: file.read().decode() for name, file in files.items() if file is not None}
    machine = json.loads(read["machine.json"])
    assert machine["transports"][0]["name"] == "vxlan"
    assert machine["kernel"].startswith("Linux")
    assert json.loads(read["settings.json"])["log"] == "json"
    assert '"mine-1"' in read["log.txt"]
    whole = "".join(read.values())
    pem = (operator.dir / "keys" / "root.pem").read_text().splitlines()
    # 48 octets a line: the key is in the first two, the third holds the public half, which anybody may see.
    private = pem[1:3]
    assert pem[4] == "-----END PRIVATE KEY-----"
    assert not [secret for secret in (token, *private) if secret in whole]
