"""`openstack intertie site|network|host …`: who can be joined, and with what."""

from __future__ import annotations

import argparse

from intertie.model.views import HostView, NetworkView, PeerView, SiteView
from intertie.osc.command import Columns, Lister, Rows, Shown, ShowOne, shown, table, words

HERE = "here"
"""State of the site that is asked."""

SITES: Columns[SiteView | PeerView] = {
    "Name": lambda site: site.name,
    "State": lambda site: site.state if isinstance(site, PeerView) else HERE,
    "Address": lambda site: site.address,
}
SITES_LONG: Columns[SiteView | PeerView] = {
    **SITES,
    "Cell": lambda site: f"{site.cloud}/{site.cell}" if site.cell else "",
    "RTT ms": lambda site: site.rtt_ms if isinstance(site, PeerView) else None,
    "Last Seen": lambda site: site.last_seen.isoformat() if isinstance(site, PeerView) and site.last_seen else None,
    "Note": lambda site: site.problem or site.introduced_by if isinstance(site, PeerView) else "",
}
NETWORKS: Columns[NetworkView] = {
    "ID": lambda net: net.id,
    "Name": lambda net: net.name,
    "Prefixes": lambda net: words(net.prefixes),
    "Attachable": lambda net: net.attachable,
}
NETWORKS_LONG: Columns[NetworkView] = {
    **NETWORKS,
    "Project": lambda net: net.project,
    "MTU": lambda net: net.mtu,
    "In Use": lambda net: len(net.addresses_in_use),
    "Reason": lambda net: net.reason,
}
HOSTS: Columns[HostView] = {
    "ID": lambda host: host.id,
    "Name": lambda host: host.name,
    "Network": lambda host: host.network,
    "Addresses": lambda host: words(host.addresses),
}
HOSTS_LONG: Columns[HostView] = {**HOSTS, "Project": lambda host: host.project, "MTU": lambda host: host.mtu}


class ListSite(Lister):
    """List the site that is asked, and its peers"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _long(parser)
        parser.add_argument("--state", metavar="<state>", help="Only sites in this state: here, up, silent, pending")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        found: list[SiteView | PeerView] = [self.client.site().value, *self.client.peers.list()]
        state = SITES["State"]
        wanted = [each for each in found if parsed_args.state in (None, state(each))]
        return table(wanted, SITES_LONG if parsed_args.long else SITES)


class ShowSite(ShowOne):
    """Show a site: the one that is asked, or a peer"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("site", metavar="<site>", help="Its name")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        here = self.client.site().value
        return shown(here if here.name == parsed_args.site else self.client.peers.get(parsed_args.site).value)


class ListNetwork(Lister):
    """List the site's networks, and whether they may be attached to a Vpn"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _long(parser)
        parser.add_argument("--name", metavar="<name>", help="Only networks of this name")
        parser.add_argument("--attachable", action="store_true", help="Only networks that may be attached")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        found = [
            each
            for each in self.client.networks.list()
            if parsed_args.name in (None, each.name) and (each.attachable or not parsed_args.attachable)
        ]
        return table(found, NETWORKS_LONG if parsed_args.long else NETWORKS)


class ListHost(Lister):
    """List the hosts on the site's networks"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _long(parser)
        parser.add_argument("--network", metavar="<network>", help="Only hosts on this network")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        network = parsed_args.network
        found = [each for each in self.client.hosts.list() if network in (None, each.network)]
        return table(found, HOSTS_LONG if parsed_args.long else HOSTS)


def _long(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--long", action="store_true", help="List additional fields in output")
