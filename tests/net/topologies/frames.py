"""Packets made and taken apart by hand, on top of what `tests/net/vxlan_lab.py` has: traces, TCP, what passes by."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address

from intertie.drivers.linux import icmp
from tests.net.topologies.hosts import Network

IGNORE_OUTGOING = 23
SOL_PACKET, ETH_P_ALL = 263, 3
IDENT = 0x5EED


def trace(source: Network, target: str, hops: int) -> icmp.Message | None:
    """What comes back for an echo that may make `hops` hops; None if nothing does within a second."""
    address = ip_address(target)

    def ask() -> icmp.Message | None:
        if address.version == 4:
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        else:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        with sock:
            sock.sendto(icmp.echo_request(address.version, IDENT, 1, 84), (target, 0))
            ends = time.monotonic() + 1.0
            while (left := ends - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    data, sender = sock.recvfrom(65536)
                except TimeoutError:
                    break
                if message := icmp.parse(address.version, data, ip_address(sender[0]), IDENT):
                    return message
        return None

    return source.run(ask)


def tcp(server: Network, client: Network, address: str, octets: int) -> tuple[int, int]:
    """Send `octets` from `client` to `server`: (octets that arrived, the sender's segment size at the end)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = server.run(lambda: socket.create_server((address, 0), family=family))
    port = listening.getsockname()[1]
    arrived: Future[int] = Future()

    def take() -> None:
        listening.settimeout(15)
        try:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(15)
                total = 0
                while data := connection.recv(1 << 16):
                    total += len(data)
            arrived.set_result(total)
        except OSError as error:
            arrived.set_exception(error)

    threading.Thread(target=take, daemon=True).start()

    def give() -> int:
        with socket.create_connection((address, port), timeout=15) as connection:
            connection.sendall(bytes(octets))
            connection.shutdown(socket.SHUT_WR)
            arrived.result(20)
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

    with listening:
        size = client.run(give)
    return arrived.result(1), size


@dataclass(slots=True)
class Wire:
    """Raw frames on one device of a namespace: sent, and heard from others."""

    opened: socket.socket

    @classmethod
    def open(cls, network: Network, device: str = "eth0") -> Wire:
        return cls(network.run(lambda: _packet_socket(device)))

    def send(self, data: bytes) -> None:
        self.opened.send(data.ljust(60, b"\0"))

    def until(self, last: Callable[[bytes], bool], seconds: float = 3.0) -> list[bytes]:
        """Everything heard before the frame of which `last` is true. AssertionError if that does not come."""
        found: list[bytes] = []
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.opened.settimeout(left)
            try:
                data = self.opened.recv(1 << 16)
            except TimeoutError:
                break
            if last(data):
                return found
            found.append(data)
        raise AssertionError(f"not heard within {seconds:g} s, but {len(found)} other frames")

    def during(self, seconds: float) -> list[bytes]:
        """What passes by in that time."""
        found: list[bytes] = []
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.opened.settimeout(left)
            try:
                found.append(self.opened.recv(1 << 16))
            except TimeoutError:
                break
        return found

    def close(self) -> None:
        self.opened.close()


def _packet_socket(device: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    opened.bind((device, ETH_P_ALL))
    return opened


def mac_of(network: Network, device: str = "eth0") -> str:
    return network.netlink(lambda nl: str(nl.get_links(ifname=device)[0].get_attr("IFLA_ADDRESS")))
