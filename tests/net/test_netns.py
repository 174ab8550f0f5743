"""The namespace worker, against the kernel."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from intertie.drivers.linux.netns import Namespaces, Netns, netns_name

pytestmark = pytest.mark.net
A, B = Netns("t-a"), Netns("t-b")


@pytest.fixture
async def spaces(tmp_path: Path):
    spaces = Namespaces(tmp_path / "netns")
    yield spaces
    for ns in await spaces.list():
        await spaces.remove(ns)
    await spaces.close()


def inode() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


async def test_code_runs_inside_and_the_worker_comes_back(spaces: Namespaces) -> None:
    own = inode()
    await spaces.create(A)
    await spaces.create(B)
    inside = {await spaces.run(ns, inode) for ns in (A, B, None)}
    assert len(inside) == 3
    assert await spaces.run(None, inode) == own == inode()
    with pytest.raises(ZeroDivisionError):
        await spaces.run(A, lambda: 1 // 0)
    assert await spaces.run(None, inode) == own


async def test_create_and_remove_are_idempotent_and_list_shows_what_is_there(spaces: Namespaces) -> None:
    await spaces.create(A)
    first = await spaces.run(A, inode)
    await spaces.create(A)
    assert await spaces.run(A, inode) == first
    (spaces.directory / "t-crashed").touch()
    assert await spaces.list("t-") == (A,)
    assert not await spaces.exists(Netns("t-crashed"))
    await spaces.create(Netns("t-crashed"))
    assert await spaces.exists(Netns("t-crashed"))
    await spaces.remove(A)
    await spaces.remove(A)
    assert not await spaces.exists(A)
    with pytest.raises(FileNotFoundError):
        await spaces.run(A, inode)


async def test_netlink_follows_a_namespace_that_was_made_again_by_another(spaces: Namespaces) -> None:
    other = Namespaces(spaces.directory)
    await spaces.create(A)
    await spaces.netlink(A, lambda nl: nl.link("add", ifname="here", kind="bridge"))
    assert await spaces.netlink(A, lambda nl: nl.link_lookup(ifname="here"))
    await other.remove(A)
    await other.create(A)
    assert not await spaces.netlink(A, lambda nl: nl.link_lookup(ifname="here"))
    await other.close()


async def test_loopback_is_up_and_a_returned_socket_stays_inside(spaces: Namespaces) -> None:
    await spaces.create(A)

    listener = await spaces.run(A, lambda: socket.create_server(("127.0.0.1", 0)))
    port = listener.getsockname()[1]
    client = await spaces.run(A, lambda: socket.create_connection(("127.0.0.1", port), 1))
    client.close()
    with pytest.raises(OSError, match=r"refused|unreachable"):  # outside: no such port, or a loopback that is down
        socket.create_connection(("127.0.0.1", port), 1)
    listener.close()


async def test_many_namespaces_keep_few_sockets(spaces: Namespaces) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(80):
        await spaces.create(Netns(f"t-{i}"))
        await spaces.netlink(Netns(f"t-{i}"), lambda nl: nl.link_lookup(ifname="lo"))
    assert len(os.listdir("/proc/self/fd")) - before < 64 * 4 + 10


async def test_a_name_cannot_leave_the_directory(spaces: Namespaces) -> None:
    for bad in ("../x", "", "a/b", "x" * 64):
        with pytest.raises(ValueError, match="not a name"):
            await spaces.create(Netns(bad))


def test_names_are_readable_until_too_long() -> None:
    assert netns_name("nantes", "web 1") == "nantes-web-1"
    long = netns_name("nantes", "w" * 80)
    assert len(long) == 63
    assert long != netns_name("nantes", "w" * 81)
