"""The stage without its play: namespaces, backbone, supervisor and control socket, with stand-ins for agents."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from intertie.demo import attach
from intertie.demo.abort import Abort
from intertie.demo.control import Control, Request
from intertie.demo.sites import chosen
from intertie.demo.stage import Stage
from intertie.demo.state import KnownHost, Serving, SiteAccess
from tests.demo.conftest import Traces
from tests.demo.hold import STANDIN

HOLD = Path(__file__).with_name("hold.py")
REFUSE = Path(__file__).with_name("refuse.py")
CLI = "from intertie.demo.cli import demo_app; demo_app(prog_name='intertie demo')"


@pytest.fixture
def stage(base: Path, port: int) -> Iterator[Stage]:
    with Stage(chosen(3), port, STANDIN) as stage:
        stage.start()
        yield stage


def get(stage: Stage, index: int) -> str:
    with urllib.request.urlopen(stage.url(stage.sites[index]), timeout=10) as answer:
        return str(answer.read().decode())


def inside(stage: Stage, index: int, *argv: str) -> tuple[int, str]:
    """Run a program in a site's namespaces: its exit code and what it said."""
    read, write = os.pipe()
    with open(read) as said:
        try:
            request = Request(do="run", site=stage.sites[index].name, argv=argv)
            code = attach.run(stage.control, request, (0, write, write))
        finally:
            os.close(write)
        return code, said.read()


def crosses(stage: Stage, source: int, target: int, version: int) -> bool:
    site = stage.sites[target]
    address = site.underlay.ip if version == 4 else site.underlay6.ip
    code, _ = inside(stage, source, sys.executable, "-m", "intertie.demo.ping", str(address), "-c", "2", "-i", "0.01")
    return code == 0


def tell(stage: Stage, request: Request) -> None:
    with Control(stage.control) as control:
        control.ask(request)


@pytest.mark.parametrize("version", [4, 6])
def test_the_backbone_routes_and_a_cut_is_between_two_sites_only(stage: Stage, version: int) -> None:
    assert crosses(stage, 0, 1, version)
    tell(stage, Request(do="cut", site="lyon", other="nantes"))
    assert not crosses(stage, 0, 1, version)
    assert not crosses(stage, 1, 0, version)
    assert crosses(stage, 0, 2, version)
    assert crosses(stage, 1, 2, version)
    tell(stage, Request(do="heal"))
    assert crosses(stage, 0, 1, version)


def test_the_backbone_is_a_router_with_full_size_links(stage: Stage) -> None:
    look = (
        "from pyroute2 import IPRoute\n"
        "with IPRoute() as n:\n"
        "  print(sorted((l.get('ifname'), l.get('mtu')) for l in n.get_links()))\n"
        "  print(sorted(str(r.get('gateway')) for r in n.get_routes() if r['dst_len'] == 0 and r.get('gateway')))\n"
    )
    code, said = inside(stage, 1, sys.executable, "-c", look)
    assert (code, said.splitlines()) == (
        0,
        ["[('lo', 65536), ('uplink', 1500)]", "['198.51.100.2', '2001:db8:0:1::1']"],
    )


def test_an_agent_serves_on_the_hosts_loopback_and_its_files_are_private(stage: Stage) -> None:
    for index, site in enumerate(stage.sites):
        assert get(stage, index) == str(stage.directory(site))
        assert stage.directory(site).stat().st_mode & 0o777 == 0o700
    assert stage.control.stat().st_mode & 0o777 == 0o600


def test_a_killed_agent_stays_dead_until_started_and_its_port_stays_open(stage: Stage) -> None:
    get(stage, 1)
    with Control(stage.control) as watching:
        watching.ask(Request(do="watch"))
        tell(stage, Request(do="kill", site="lyon"))
        told = watching.receive()
        assert (told.event, told.site, told.status, told.wanted) == ("exit", "lyon", -signal.SIGKILL, True)
    with Control(stage.control) as control:
        lyon = next(site for site in control.ask(Request(do="status")).sites if site.name == "lyon")
    assert (lyon.pid, lyon.exit) == (0, -signal.SIGKILL)
    port = int(stage.url(stage.sites[1]).rpartition(":")[2])
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as waits:
        waits.sendall(b"GET / HTTP/1.0\r\n\r\n")  # it queues: the socket is the supervisor's too
        tell(stage, Request(do="start", site="lyon"))
        waits.settimeout(20)
        assert waits.recv(100).startswith(b"HTTP/1.0 200")
    with pytest.raises(Abort, match="is running"):
        tell(stage, Request(do="start", site="lyon"))


def test_sites_have_names_of_namespaces_of_their_own(stage: Stage) -> None:
    make = "import pyroute2; pyroute2.netns.create('h'); import os; print(os.listdir('/run/netns'))"
    for index in (0, 1):
        assert inside(stage, index, sys.executable, "-c", make) == (0, "['h']\n")


MAKE_HOST = """
import sys
from pyroute2 import IPRoute, NetNS, netns
name, *addresses = sys.argv[1:]
netns.create(name)
with NetNS(name) as host:
    host.link("set", index=1, state="up")
    for address in addresses:
        host.addr("add", index=1, address=address, prefixlen=32)
"""


@pytest.fixture
def hosts(stage: Stage) -> Stage:
    """Two hosts at lyon with one address, as two projects may have, and one more at nantes."""
    for site, name, address in ((1, "x-other", "10.9.0.1"), (1, "x-web", "10.9.0.1"), (0, "x-db", "10.9.0.2")):
        assert inside(stage, site, sys.executable, "-c", MAKE_HOST, name, address)[0] == 0
    known = (
        KnownHost(name="web", site="lyon", address="10.9.0.1"),
        KnownHost(name="db", site="nantes", address="10.9.0.2"),
        KnownHost(name="gone", site="nantes", address="10.9.0.9"),
    )
    access = SiteAccess(name="nantes", url=stage.url(stage.sites[0]), token="t", admin_token="a")
    stage.write_serving(Serving(pid=os.getpid(), sites=(access,), hosts=known))
    return stage


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`intertie demo …` as another terminal would call it."""
    command = [sys.executable, "-c", CLI, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def test_a_command_in_a_host_is_in_that_hosts_namespace(hosts: Stage) -> None:
    names = "import os; print(sorted(os.listdir('/run/netns')))"
    done = cli("shell", "web", "--", sys.executable, "-c", names)
    assert (done.returncode, done.stdout) == (0, "['x-other', 'x-web']\n")
    same = "import os, sys; sys.exit(not os.path.samestat(os.stat('/proc/self/ns/net'), os.stat('/run/netns/x-web')))"
    assert cli("shell", "web", "--", sys.executable, "-c", same).returncode == 0
    assert cli("shell", "web", "--", "sh", "-c", "exit 7").returncode == 7
    assert cli("shell", "web", "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert cli("shell", "web", "--", "ping", "-c", "1", "10.9.0.1").returncode == 0


def test_what_is_not_there_is_told(hosts: Stage) -> None:
    gone = cli("shell", "gone", "--", "true")
    assert gone.returncode == 127
    assert "gone (10.9.0.9) has no namespace here" in gone.stderr
    site = cli("cut", "nantes", "paris")
    assert site.returncode == 2
    assert "no site is called paris" in site.stderr
    assert "sites: nantes, lyon, rennes" in site.stderr


def test_ping_beats_tells_losses_and_sums_up_on_an_interrupt(hosts: Stage) -> None:
    done = cli("ping", "web", "10.9.0.1", "--interval", "0.01", "--count", "5")
    assert done.returncode == 0
    assert "5 packets transmitted, 5 received, 0% packet loss" in done.stdout
    command = [sys.executable, "-c", CLI, "ping", "db", "10.9.0.2", "--interval", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as going:
        assert going.stdout is not None
        for _ in range(10):
            going.stdout.readline()
        os.killpg(going.pid, signal.SIGINT)
        rest = going.stdout.read()
        assert going.wait(10) == 0
    assert ", 0% packet loss" in rest


def read_until(terminal: int, wanted: bytes, seconds: float = 20.0) -> bytes:
    """What a terminal shows, up to `wanted`."""
    seen = b""
    until = time.monotonic() + seconds
    while wanted not in seen:
        readable, _, _ = select.select([terminal], [], [], until - time.monotonic())
        assert readable, f"no {wanted!r} in {seen!r}"
        seen += os.read(terminal, 4096)
    return seen


def test_an_interactive_shell_has_a_terminal_and_job_control(hosts: Stage) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execv(sys.executable, [sys.executable, "-c", CLI, "shell", "web"])
    read_until(terminal, b"web$ ")
    os.write(terminal, b"tty -s && echo a$((40+2))b\n")
    read_until(terminal, b"a42b")
    os.write(terminal, b"sh -c 'echo run\"\"ning; exec cat'\n")
    read_until(terminal, b"running")
    os.write(terminal, b"\x03")
    read_until(terminal, b"web$ ")
    os.write(terminal, b"echo c$?d; exit 5\n")
    read_until(terminal, b"c130d")
    while True:
        try:
            if not os.read(terminal, 4096):
                break
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def test_a_program_ends_when_its_caller_goes(stage: Stage) -> None:
    read, write = os.pipe()
    with Control(stage.control) as control:
        control.send(Request(do="run", site="lyon", argv=("sh", "-c", "echo on; exec sleep 1000")), (0, write, write))
        os.close(write)
        assert os.read(read, 10) == b"on\n"
    readable, _, _ = select.select([read], [], [], 10)
    assert readable, "it is still there"
    assert os.read(read, 10) == b""
    os.close(read)


def test_nonsense_on_the_control_socket_does_no_harm(stage: Stage) -> None:
    for message in (
        b"x",
        b"[]",
        b'{"do":1}',
        b'{"do":"run","site":"lyon","argv":["true"]}',
        b'{"do":"kill"}',
        b'{"a":1}',
    ):
        with Control(stage.control) as control:
            control.socket.send(message)
            assert not control.receive().ok
    assert crosses(stage, 0, 1, 4)


# --- beginnings and ends


def hold(port: int) -> subprocess.Popen[str]:
    """Another process that holds a stage; returns once it is up."""
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, str(HOLD), str(port)], text=True, stdin=pipe, stdout=pipe, stderr=pipe)
    assert holder.stdout is not None
    assert holder.stderr is not None
    assert holder.stdout.readline() == "up\n", holder.stderr.read()
    return holder


def test_a_second_start_says_that_one_runs(base: Path, port: int) -> None:
    with hold(port) as first:
        with pytest.raises(Abort) as refused, Stage(chosen(3), port, STANDIN):
            pass
        assert refused.value.code == 2
        assert f"pid {first.pid}, http://127.0.0.1:{port}" in refused.value.detail
        first.communicate()
    assert first.returncode == 0
    assert not base.exists()


def test_a_busy_port_is_named_and_nothing_is_left(base: Path, port: int, look: Callable[[], Traces]) -> None:
    before = look()
    with socket.create_server(("127.0.0.1", port + 1)):
        with pytest.raises(Abort, match=f"127.0.0.1:{port + 1}, wanted for lyon") as refused, Stage(chosen(3), port):
            pass
        assert refused.value.code == 2
        assert "--port" in refused.value.hint
    assert not base.exists()
    assert look() == before


def test_a_machine_that_refuses_namespaces_is_told_apart_and_nothing_is_left(base: Path, port: int) -> None:
    command = [sys.executable, str(REFUSE), sys.executable, "-c", CLI, "--check", "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "this machine refuses a user namespace: Operation not permitted" in done.stderr
    assert not base.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, None])
def test_nothing_is_left_behind(base: Path, port: int, look: Callable[[], Traces], number: int | None) -> None:
    before = look()
    with hold(port) as holder:
        during = look()
        assert len(during.processes) >= 5  # holder, way in, init, three agents: the environment names the place
        assert during.namespaces > before.namespaces
        init = os.pidfd_open(int((base / "init").read_text()))
        if number is None:
            holder.communicate()
        else:
            holder.send_signal(number)
        assert select.select([init], [], [], 10)[0], "the namespaces outlive the demo"
        os.close(init)
    assert look() == before
    if number is not None:
        assert base.exists()  # nobody was left to remove it
        with Stage(chosen(3), port, STANDIN) as again:
            again.start()
            assert get(again, 0)
    assert not base.exists()
    assert look() == before


def test_a_start_right_after_a_kill_waits_for_the_last_process(base: Path, port: int) -> None:
    for _ in range(3):
        with hold(port) as holder:
            holder.kill()
        with hold(port) as again:
            again.communicate()
        assert again.returncode == 0


def test_a_directory_with_other_things_in_it_is_not_emptied(base: Path, port: int) -> None:
    base.mkdir()
    (base / "thesis.txt").write_text("years of work")
    with pytest.raises(Abort, match="something else") as refused, Stage(chosen(3), port):
        pass
    assert refused.value.code == 2
    assert (base / "thesis.txt").read_text() == "years of work"


def test_without_a_demo_the_commands_say_so(base: Path) -> None:
    for arguments in (("cut", "nantes", "lyon"), ("shell", "web"), ("status",)):
        done = cli(*arguments)
        assert done.returncode == 2
        assert "no demo is up" in done.stderr
