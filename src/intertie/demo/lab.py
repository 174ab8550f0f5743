"""The lab: a backbone that routes, and a mount and network namespace for each site. Netlink only.

        nantes          lyon          rennes
       uplink │        uplink │      uplink │        198.51.100.(2i+1)/31   2001:db8:0:i::2/64
    to-nantes │       to-lyon │   to-rennes │        198.51.100.(2i)/31     2001:db8:0:i::1/64
    ──────────┴───────────────┴─────────────┴──      backbone: the namespace that the supervisor lives in

A site's namespaces have no name: they live as long as the descriptors held here, so that an agent may die
without taking its site's hosts along. Each site sees a /run/netns of its own.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError

from intertie.demo import kernel
from intertie.demo.abort import Abort
from intertie.demo.sites import DemoSite

MTU = 1500
_NODAD = 0x02
_CUT_PRIORITY = 100
_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A site's namespaces, by open descriptors."""

    site: DemoSite
    mnt: int
    net: int

    @property
    def entries(self) -> tuple[tuple[int, int], ...]:
        """(descriptor, kind) in the order in which a child enters them."""
        return ((self.net, kernel.CLONE_NEWNET), (self.mnt, kernel.CLONE_NEWNS))


def _at_once(device: str) -> None:
    """No duplicate address detection (RFC 4862 §5.4): two ends of a cable need not wait a second for it."""
    Path(f"/proc/sys/net/ipv6/conf/{device}/accept_dad").write_text("0")


def _configure(site: DemoSite) -> None:
    """In the site's namespace: loopback, both addresses, both default routes."""
    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")
        uplink = netlink.link_lookup(ifname="uplink")[0]
        _at_once("uplink")
        netlink.link("set", index=uplink, mtu=MTU, state="up")
        for interface in (site.underlay, site.underlay6):
            netlink.addr(
                "add",
                index=uplink,
                address=str(interface.ip),
                prefixlen=interface.network.prefixlen,
                flags=_NODAD if interface.version == 6 else 0,
            )
        netlink.route("add", dst="0.0.0.0/0", gateway=str(site.router.ip))
        netlink.route("add", dst="::/0", gateway=str(site.router6.ip), oif=uplink)


class _Maker:
    """A child that makes a site's namespaces, waits for its uplink, configures it, and ends."""

    def __init__(self, site: DemoSite) -> None:
        self.site = site
        self._here, there = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(there)
        there.close()

    def _live(self, parent: socket.socket) -> None:
        """The child; it never returns."""
        code = 1
        try:
            kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
            kernel.private_mounts()
            kernel.empty_run()
            parent.send(b"made")
            if parent.recv(16) == b"plugged":
                _configure(self.site)
                parent.send(b"done")
                code = 0
        except (OSError, LookupError, NetlinkError) as failure:
            parent.send(f"{type(failure).__name__}: {failure}".encode()[:4000])
        finally:
            os._exit(code)

    def expect(self, word: bytes) -> None:
        """Wait for the child's `word`; Abort with what it says instead."""
        readable, _, _ = select.select([self._here], [], [], _SECONDS)
        said = self._here.recv(4096) if readable else b"no answer"
        if said != word:
            raise Abort(f"the namespaces of {self.site.name} cannot be made: {said.decode(errors='replace')}")

    def say(self, word: bytes) -> None:
        self._here.send(word)

    def space(self) -> Space:
        flags = os.O_RDONLY | os.O_CLOEXEC
        return Space(
            site=self.site,
            mnt=os.open(f"/proc/{self.pid}/ns/mnt", flags),
            net=os.open(f"/proc/{self.pid}/ns/net", flags),
        )

    def end(self) -> None:
        self._here.close()
        os.waitpid(self.pid, 0)


@dataclass(slots=True)
class Lab:
    """The backbone and the sites behind it."""

    netlink: IPRoute
    spaces: dict[str, Space]
    cuts: set[tuple[str, str]] = field(default_factory=set)

    def cut(self, one: str, other: str) -> None:
        """The backbone silently drops everything between two sites' underlays, both ways. Twice is once."""
        pair = (min(one, other), max(one, other))
        if pair not in self.cuts:
            self._rules("add", pair)
            self.cuts.add(pair)

    def heal(self) -> None:
        """Undo all cuts."""
        for pair in sorted(self.cuts):
            self._rules("del", pair)
            self.cuts.discard(pair)

    def _rules(self, command: str, pair: tuple[str, str]) -> None:
        ends = [self.spaces[name].site for name in pair]
        for source, target in (ends, ends[::-1]):
            for from_, to in ((source.underlay, target.underlay), (source.underlay6, target.underlay6)):
                self.netlink.rule(
                    command,
                    src=str(from_.ip),
                    src_len=from_.max_prefixlen,
                    dst=str(to.ip),
                    dst_len=to.max_prefixlen,
                    action="blackhole",
                    priority=_CUT_PRIORITY,
                )


def _plug(netlink: IPRoute, maker: _Maker) -> None:
    """A veth pair from the backbone into the site, and the backbone's end of it."""
    site = maker.site
    near = f"to-{site.name}"[:15]
    netlink.link("add", ifname=near, kind="veth", peer={"ifname": "uplink", "net_ns_pid": maker.pid})
    index = netlink.link_lookup(ifname=near)[0]
    _at_once(near)
    netlink.link("set", index=index, mtu=MTU, state="up")
    for interface in (site.router, site.router6):
        netlink.addr(
            "add",
            index=index,
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            flags=_NODAD if interface.version == 6 else 0,
        )


def build(sites: Sequence[DemoSite]) -> Lab:
    """Turn the caller's network namespace into the backbone, with every site behind it. Abort when refused."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    makers = [_Maker(site) for site in sites]
    netlink = IPRoute()
    netlink.link("set", index=1, state="up")
    spaces: dict[str, Space] = {}
    for maker in makers:
        maker.expect(b"made")
        spaces[maker.site.name] = maker.space()
        _plug(netlink, maker)
        maker.say(b"plugged")
    for maker in makers:
        maker.expect(b"done")
        maker.end()
    return Lab(netlink=netlink, spaces=spaces)
