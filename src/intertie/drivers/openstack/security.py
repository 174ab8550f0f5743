"""Whom the security groups of a network's machines keep out.

A tenant's default group lets in what comes from its own members, and those of another site are none: probes cross,
machines do not answer. That is the tenant's to say, so nothing is opened here; it is told where somebody verifies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from intertie.drivers.openstack.neutron import Neutron, Port, Rule
from intertie.drivers.openstack.view import View
from intertie.model.bodies import Prefix
from intertie.model.errors import IntertieError


class SecurityGroups:
    """Of one region. Satisfies `agent.ports.Guards`."""

    def __init__(self, site: str, neutron: Neutron, view: View) -> None:
        self._site = site
        self._neutron = neutron
        self._view = view

    async def kept_out(self, network: str, prefixes: Collection[Prefix]) -> str:
        """In words, what of these prefixes (none: of the network's own, at other sites) no machine's group lets in;
        "" if there is nothing to say, or the cloud does not."""
        try:
            sight = await self._view.look()
            net = sight.find(self._site, network)
            if net is None:
                return ""
            rules = await self._neutron.rules()
        except IntertieError:
            return ""
        own = [subnet.prefix for subnet in sight.subnets.get(net.id, ())]
        return words(sight.users(net), rules, prefixes or own)


def words(ports: Iterable[Port], rules: Iterable[Rule], prefixes: Iterable[Prefix]) -> str:
    """`ports` are those of machines. Only of IP versions that a machine has an address of."""
    guarded = [port for port in ports if port.secured]
    found = []
    rules = list(rules)
    for prefix in prefixes:
        closed = [port for port in guarded if _speaks(port, prefix) and not _admits(port, rules, prefix)]
        if closed:
            groups = ", ".join(sorted({group for port in closed for group in port.groups})) or "none at all"
            found.append(
                f"{len(closed)} of {len(guarded)} machines let nothing in from {prefix}: security group {groups}"
                f" (openstack security group rule create --remote-ip {prefix} …)"
            )
    return "; ".join(found)


def _speaks(port: Port, prefix: Prefix) -> bool:
    return any(address.version == prefix.version for address in port.addresses)


def _admits(port: Port, rules: Iterable[Rule], prefix: Prefix) -> bool:
    """Whether anything of the prefix gets in: what a rule names otherwise than by a prefix or a group of machines
    (a group of addresses) may well be that."""
    return any(
        rule.group in port.groups
        and rule.version == prefix.version
        and not rule.members
        and (rule.prefix is None or _overlaps(rule.prefix, prefix))
        for rule in rules
    )


def _overlaps(a: Prefix, b: Prefix) -> bool:
    return a.version == b.version and (a.network_address in b or b.network_address in a)
