"""The kept corpus: what our own encoders write, and the inputs that once were failures.

`python -m tests.fuzz.samples` writes `corpus/TARGET.txt` anew; `found/TARGET.txt` is kept by hand. One input a line,
base64, so that a change of either can be read in a review.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from intertie.drivers.linux import frame_format, icmp, marks, nft_codec, rtnl
from intertie.drivers.linux import nfnetlink as nl
from intertie.drivers.linux.frame_format import Frame, FrameType
from intertie.drivers.transport import vxlan_rules
from intertie.federation import certificates, invitation, keys
from intertie.model import wire
from intertie.model.items import Segment
from intertie.model.records import Cursor, Kind, Record
from intertie.model.wire import Join, Message, ToldHost, ToldPair, ToldSight, Volatile
from intertie.planning.compile import compile_site
from tests.unit.paper import Paper

HERE = Path(__file__).resolve().parent
KEPT, FOUND = HERE / "corpus", HERE / "found"


def read(folder: Path, target: str) -> list[bytes]:
    """The inputs in a folder's file for a target; none if there is no such file."""
    path = folder / f"{target}.txt"
    return [b64decode(line) for line in path.read_text().split()] if path.exists() else []


def paper() -> Paper:
    """Three sites with a Vpn of each kind."""
    sites = Paper("nantes", "lyon", "rennes")
    for n, name in enumerate(("nantes", "lyon", "rennes")):
        sites[name].network("db", f"10.{n}.0.0/24")
    sites["nantes"].network("blue", "10.9.0.0/24", "2001:db8::/64")
    sites.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes")
    sites.vpn("lyon", "l3", "lyon:db", "nantes:db", "rennes:db")
    sites.settle()
    return sites


def records() -> list[Record]:
    table = paper()["nantes"].table
    return [record for kind in Kind for record in list(table.all_of(kind))[:3]]


def messages() -> Iterator[bytes]:
    some = tuple(records())
    vpn = next(r.id for r in some if r.header.kind is Kind.VPN)
    empty = Message(sender="lyon", incarnation=1, boot="b")
    yield wire.encode(empty)
    yield wire.encode(Message(sender="lyon", incarnation=1, boot="b", records=some[:4], upto=Cursor(1, 9), wait=5.0))
    told = Volatile(
        sights=(ToldSight(vpn=vpn, to="nantes", health="ready", rtt_ms=0.5, loss=0.0, age=1.5),),
        hosts=(ToldHost(vpn=vpn, name="h", addresses=(ip_address("10.9.0.9"), ip_address("2001:db8::9"))),),
        verified=(ToldPair(vpn=vpn, to_site="nantes", ok=True, mtu=1450),),
    )
    yield wire.encode(Message(sender="lyon", incarnation=2, boot="b", volatile=told, verify=(vpn,), more=True))
    yield wire.encode(
        Message(sender="lyon", incarnation=1, boot="b", join=Join(name="lyon", secret="c2VjcmV0"), records=some[:1])
    )
    yield wire.encode(Message(sender="lyon", incarnation=3, boot="b", recover=True, returns=True, returned=some[4:6]))


def certificates_of() -> dict[str, list[bytes]]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with TemporaryDirectory() as folder:
        key = keys.create(Path(folder), "nantes")
    leaf = certificates.issue(key, now, timedelta(days=2)).pem.split(b"-----BEGIN CERTIFICATE-----")[1]
    lines = leaf.split(b"-----END")[0]
    token, _ = invitation.invite(key.root, "lyon", "[2001:db8::1]:7576", now)
    return {
        "root": [key.root.der],
        "leaf": [b64decode(b"".join(lines.split()))],
        "point": [key.root.point],
        "signature": [key.sign(b"record")],
        "token": [token.encode().encode(), invitation.invite(key.root, "x", "h:1", now)[0].encode().encode()],
    }


def packets() -> dict[str, list[bytes]]:
    probe = Frame(
        destination="fe:00:00:00:00:02",
        source="fe:00:00:00:00:01",
        type=FrameType.REQUEST,
        vni=65537,
        nonce=1,
        sender="nantes",
        receiver="lyon",
        size=64,
    )
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 84, 0, 0x4000, 64, 1, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    echo4, echo6 = icmp.echo_request(4, 0xBEEF, 7, 84), icmp.echo_request(6, 0xBEEF, 7, 84)
    header6 = struct.pack("!IHBB16s16s", 6 << 28, 64, 58, 64, bytes(16), bytes(16))
    return {
        "frame": [frame_format.encode(probe)],
        "icmp4": [
            header + b"\0" + echo4[1:],
            header + struct.pack("!BBHHH", 3, 4, 0, 0, 1450) + header + echo4[:8],
        ],
        "icmp6": [b"\x81" + echo6[1:], struct.pack("!BBHI", 2, 0, 0, 1400) + header6 + echo6],
        "link": [struct.pack("!4sB3xQ", b"itp1", 1, 7)],
    }


def kernel() -> dict[str, list[bytes]]:
    name = rtnl.attribute(rtnl.IFLA_IFNAME, b"vx65537\0") + rtnl.attribute(rtnl.IFLA_ADDRESS, bytes(6))
    link = struct.pack("=BBHiII", 0, 0, 1, 3, 1, 0) + name
    held = struct.pack("=BBBBI", 2, 24, 0, 0, 3) + rtnl.attribute(rtnl.IFA_ADDRESS, b"\x0a\0\0\1")
    bodies = (link, held)
    segment = next(i for i in compile_site(paper()["nantes"].table) if isinstance(i, Segment))
    nft = [
        message.payload
        for table in vxlan_rules.tables("nantes", segment)
        for message in (*nft_codec.add_chains(table), *nft_codec.add_sets(table))
    ]
    mark = marks.write("it0", ("network", "nantes.01", "demo", "1450"))
    long = marks.write("it0", ["word" * 30] * 3, alias=False)
    return {
        "netlink": [struct.pack("=IHHII", 16 + len(b), 16, 2, 1, 0) + b for b in bodies],
        "nftables": [*nft[:40], nl.text(1, "meta") + nl.nested(2, nl.u32(1, 8), nl.u32(2, 3))],
        "mark": [
            mark.alias.encode(),
            "\n".join(("", *long.altnames)).encode(),
            b"intertie nantes l2 0 nantes.01 nantes.net",
        ],
    }


def words() -> dict[str, list[bytes]]:
    toml = (
        'name = "nantes"\nunderlay = "192.0.2.1"\nlocation = { lat = 47.2, lon = -1.5 }\nintroductions = "ask"\n'
        'listen_users = "127.0.0.1:7575"\nheartbeat = 10.0\n'
    )
    vpn = {"name": "blue", "kind": "l2", "attachments": [{"site": "nantes", "network": "blue"}, {"site": "lyon"}]}
    return {
        "address": [b"192.0.2.1:7576", b"[2001:db8::1]:7576", b"host.example:1"],
        "attachment": [b"lyon", b"nantes:blue", b"lyon/edge-1:blue"],
        "site_toml": [toml.encode()],
        "body": [json.dumps(vpn).encode(), b'{"name":"n","prefix":"10.0.0.0/24"}'],
        "headers": [b"wait=10", b'respond-async, wait="5"; x', b'"0.1.7", W/"0.1.8", *', b"MDAwMA"],
        "store_row": [
            bytes((cell, mend, kind)) + b"7" for cell in range(30) for mend in (0, 1) for kind in (0, 1, 2, 3)
        ],
    }


def samples() -> dict[str, list[bytes]]:
    """target → inputs that our own encoders made."""
    return {
        "record": [record.raw for record in records()],
        "message": list(messages()),
        **certificates_of(),
        **packets(),
        **kernel(),
        **words(),
    }


def main() -> None:
    KEPT.mkdir(exist_ok=True)
    for target, inputs in samples().items():
        (KEPT / f"{target}.txt").write_text("".join(b64encode(one).decode() + "\n" for one in inputs))


if __name__ == "__main__":
    main()
