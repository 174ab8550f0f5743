"""docs/install.md, tried to the letter: every command on the hosts that it names, in order; what it shows is said."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.hosts.document import Block, Command, Flow, blocks, flow
from tests.hosts.machines import Host, shell
from tests.net.topologies.hosts import Hosts, Stream
from tools.run_tests import copy_tracked_files

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "install.md"
FLOW = flow(DOCUMENT)
PATIENCE = 30.0
Run = Callable[[str], tuple[int, str]]


@dataclass(slots=True)
class Reader:
    """Somebody who types what the document says."""

    hosts: dict[str, Host]
    checkout: Path
    wheels: Path
    kept: dict[str, str] = field(default_factory=dict)
    failed: str = ""
    see: Hosts = field(default_factory=Hosts)
    stream: Stream | None = None

    def play(self, block: Block) -> None:
        if block.hosts == ("build",):
            self._all(block, self._build)
            for file in (*self.checkout.glob("dist/*.whl"), self.checkout / "constraints.txt"):
                for host in self.hosts.values():
                    host.put(file, f"/root/{file.name}")
            return
        with ThreadPoolExecutor() as threads:
            for done in [threads.submit(self._all, block, self.hosts[name].run) for name in block.hosts]:
                done.result()

    def watch(self, line: int, flow: Flow) -> None:
        """Begins to send packets, or ends and looks whether one was lost, where the document says so."""
        if self.stream is None and flow.first < line < flow.last:
            self.stream = self.see.stream(self.hosts["nantes"].inside(flow.source), self.kept[flow.target], 0.02)
            self.stream.__enter__()
        elif self.stream is not None and line > flow.last:
            stream, self.stream = self.stream, None
            stream.__exit__()
            stream.check()

    def _all(self, block: Block, run: Run) -> None:
        *first, last = block.commands
        for command in first:
            self._one(block, command, run, 0, False)
        self._one(block, last, run, block.exit, block.until)

    def _one(self, block: Block, command: Command, run: Run, exit: int, until: bool) -> None:
        text = command.filled(self.kept)
        ends = time.monotonic() + PATIENCE
        while True:
            code, said = run(text)
            words = command.matches(said) if code == exit else None
            if words is not None:
                self.kept |= words
                return
            assert until * (ends - time.monotonic()) > 0, (
                f"{DOCUMENT.name}, block of line {block.line}, {'/'.join(block.hosts)}\n# {text}\n"
                f"ended with {code}; said:\n{said}"
            )

    def _build(self, text: str) -> tuple[int, str]:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.checkout.parent),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        return shell(["sh", "-c", text], environment, self.checkout)


@pytest.fixture(scope="module")
def reader(hosts: dict[str, Host], wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    checkout = tmp_path_factory.mktemp("build") / "checkout"
    checkout.mkdir()
    copy_tracked_files(checkout)
    reader = Reader(hosts, checkout, wheels)
    yield reader
    reader.see.close()
    shutil.rmtree(checkout)


@pytest.mark.requires("ip", "nft", "ping", "systemd-analyze")
@pytest.mark.parametrize("block", blocks(DOCUMENT), ids=lambda block: f"line {block.line}")
def test_the_document(reader: Reader, block: Block) -> None:
    if reader.failed:
        pytest.fail(f"an earlier block failed: {reader.failed}", pytrace=False)
    reader.failed = f"line {block.line}"
    reader.watch(block.line, FLOW)
    reader.play(block)
    reader.failed = ""


def test_what_is_left_where_a_site_was(reader: Reader) -> None:
    """Nothing: no device, no namespace, no rule, no process, no file, no user."""
    if reader.failed:
        pytest.fail("the document was not played to its end", pytrace=False)
    lyon = reader.hosts["lyon"]
    devices = lyon.network.netlink(lambda nl: sorted(str(each.get_attr("IFLA_IFNAME")) for each in nl.get_links()))
    assert devices == ["eth0", "lo"]
    for command in (
        "ip netns list",
        "nft list ruleset",
        "ls /var/lib | grep intertie || true",
        "getent passwd intertie || true",
    ):
        assert lyon.run(command) == (0, ""), command
