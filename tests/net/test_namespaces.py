"""The ground the other tests in this folder stand on: namespaces of our own, in which everything is allowed."""

from __future__ import annotations

import os
from pathlib import Path

from pyroute2 import IPRoute, netns


def test_the_network_is_private_and_loopback_is_up() -> None:
    with IPRoute() as kernel:
        links = {link.get("ifname"): link for link in kernel.get_links()}
    assert set(links) == {"lo"}
    assert links["lo"].get("state") == "up"


def test_processes_of_the_machine_are_out_of_sight() -> None:
    mine = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    assert os.getpid() in mine
    # Not how many: switches that other tests run are among them. The first of them all is this run.
    assert b"pytest" in Path("/proc/1/cmdline").read_bytes(), "a private /proc begins with this run"


def test_a_named_namespace_takes_one_end_of_a_veth_pair() -> None:
    netns.create("nantes")
    try:
        with IPRoute() as kernel, IPRoute(netns="nantes") as inside:
            kernel.link("add", ifname="to-nantes", kind="veth", peer={"ifname": "uplink", "net_ns_fd": "nantes"})
            assert kernel.link_lookup(ifname="to-nantes")
            assert inside.link_lookup(ifname="uplink")
            kernel.link("del", ifname="to-nantes")
            assert not inside.link_lookup(ifname="uplink")
    finally:
        netns.remove("nantes")
