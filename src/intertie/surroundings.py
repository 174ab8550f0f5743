"""The process and the machine around an agent, for its operator: certificates, disk, settings, log, kernel."""

from __future__ import annotations

import os
import platform
import ssl
from base64 import b64decode
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from intertie import __version__
from intertie.agent.ports import Certificate, StoreFacts
from intertie.federation import keys
from intertie.federation.keys import BAD_CERTIFICATE
from intertie.federation.peer_transport import TlsTransport
from intertie.model.bodies import TransportFacts
from intertie.model.errors import Refused
from intertie.site_file import SiteFile

MODULES = ("vxlan", "nf_tables", "bridge", "veth", "wireguard", "mpls_router", "openvswitch")
"""Of the kernel: what a driver may want."""
SYSCTLS = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/bridge/bridge-nf-call-iptables")


class AgentSurroundings:
    """`ports.Surroundings` of an agent that runs."""

    def __init__(
        self,
        site: SiteFile,
        database: Path,
        transport: TlsTransport,
        log: Callable[[], Sequence[str]],
        facts: Callable[[], Awaitable[Sequence[TransportFacts]]],
    ) -> None:
        self._site = site
        self._database = database
        self._transport = transport
        self._log = log
        self._facts = facts

    def certificates(self, roots: Mapping[str, str]) -> Sequence[Certificate]:
        return (*self._own(), *(_root(name, root) for name, root in sorted(roots.items())))

    def _own(self) -> Iterator[Certificate]:
        name = self._site.name
        root = self._transport.root
        yield Certificate(kind="root", site=name, ends=root.not_after)
        ends, problem = self._transport.certificate()
        yield Certificate(kind="tls", site=name, ends=ends, problem=problem, rotates=True)
        if self._site.tls_certificate:
            yield _of_users(name, Path(self._site.tls_certificate))

    def store(self) -> StoreFacts:
        if self._site.store:
            return StoreFacts()  # another machine's disk, perhaps; its administrator watches it
        files = [self._database, *(self._database.with_name(self._database.name + s) for s in ("-wal", "-shm"))]
        try:
            disk = os.statvfs(self._database.parent)
            used = sum(f.stat().st_size for f in files if f.exists())
        except OSError:
            return StoreFacts()
        return StoreFacts(used=used, free=disk.f_bavail * disk.f_frsize)

    def settings(self) -> Mapping[str, object]:
        site = replace(self._site, store=_without_password(self._site.store))
        return {name: fact if _plain(fact) else str(fact) for name, fact in asdict(site).items()}

    def log(self) -> Sequence[str]:
        return self._log()

    async def machine(self) -> Mapping[str, object]:
        return {
            "version": __version__,
            "python": platform.python_version(),
            "openssl": ssl.OPENSSL_VERSION,
            "kernel": " ".join((platform.system(), platform.release(), platform.version(), platform.machine())),
            "distribution": _first_line(Path("/etc/os-release")),
            "modules": _modules(MODULES),
            "sysctl": {name: _first_line(Path("/proc/sys") / name) for name in SYSCTLS},
            "capabilities": _line_of(Path("/proc/self/status"), "CapEff:"),
            "memory": _line_of(Path("/proc/self/status"), "VmRSS:"),
            "transports": [asdict(each) for each in await self._facts()],
        }


def _root(name: str, root: str) -> Certificate:
    try:
        return Certificate(kind="root", site=name, ends=keys.parse_root(b64decode(root, validate=True)).not_after)
    except (Refused, ValueError) as error:
        return Certificate(kind="root", site=name, ends=None, problem=str(error))


def _of_users(name: str, path: Path) -> Certificate:
    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, *BAD_CERTIFICATE) as error:
        return Certificate(kind="users", site=name, ends=None, problem=f"{path}: {error}")
    return Certificate(kind="users", site=name, ends=ends)


def _without_password(url: str) -> str:
    """Of the store's address what is no secret: not who connects, nor its options, which may hold a password too."""
    if not url:
        return ""
    found = urlsplit(url)
    return f"{found.scheme}://{found.netloc.rpartition('@')[2]}{found.path}"


def _plain(fact: object) -> bool:
    return fact is None or isinstance(fact, str | int | float | bool | dict)


def _first_line(path: Path) -> str:
    """ "" for what is not there."""
    try:
        return path.read_text().partition("\n")[0]
    except OSError:
        return ""


def _line_of(path: Path, start: str) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix(start).strip() for line in lines if line.startswith(start)), "")


def _modules(wanted: Collection[str]) -> Mapping[str, bool]:
    """Whether each is loaded or built in; one that is not may still be loaded when it is asked for."""
    return {name: (Path("/sys/module") / name).exists() for name in wanted}
