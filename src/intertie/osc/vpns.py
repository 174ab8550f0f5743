"""`openstack intertie vpn list|show|verify|adopt`; what changes Vpns is in `changes`."""

from __future__ import annotations

import argparse

from intertie.model.views import EndView, Phase, VerifiedPair, VpnView
from intertie.osc.command import Columns, Lister, Rows, Shown, ShowOne, shown, table, words

VPNS: Columns[VpnView] = {
    "ID": lambda vpn: vpn.id,
    "Name": lambda vpn: vpn.name,
    "Kind": lambda vpn: vpn.kind,
    "Phase": lambda vpn: vpn.phase.value,
    "Members": lambda vpn: words([each.site for each in vpn.members]),
}
VPNS_LONG: Columns[VpnView] = {
    **VPNS,
    "Project": lambda vpn: vpn.project,
    "Home": lambda vpn: vpn.owner,
    "Transport": lambda vpn: vpn.transport,
    "Prefixes": lambda vpn: words(vpn.prefixes),
    "MTU": lambda vpn: vpn.mtu,
    "Reason": lambda vpn: vpn.reason,
}
PAIRS: Columns[VerifiedPair] = {
    "From": lambda pair: _end(pair.from_),
    "To": lambda pair: _end(pair.to),
    "OK": lambda pair: pair.ok,
    "RTT ms": lambda pair: pair.rtt_ms,
    "MTU": lambda pair: pair.mtu,
    "Broken At": lambda pair: pair.broken_at,
    "Hint": lambda pair: pair.hint,
}


class ListVpn(Lister):
    """List the Vpns that this site is a member of"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("--long", action="store_true", help="List additional fields in output")
        parser.add_argument("--name", metavar="<name>", help="Only Vpns of this name")
        parser.add_argument("--kind", choices=("l2", "l3"), help="Only Vpns of this kind")
        parser.add_argument("--phase", choices=[each.value for each in Phase], help="Only Vpns in this phase")
        parser.add_argument("--member", metavar="<site>", help="Only Vpns that this site is a member of")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        found = [each for each in self.client.vpns.list(parsed_args.name or "") if _wanted(each, parsed_args)]
        return table(found, VPNS_LONG if parsed_args.long else VPNS)


class ShowVpn(ShowOne):
    """Show a Vpn: its members, their answers, and what packets say"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return named(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        return shown(self.client.vpns.find(parsed_args.vpn).value)


class VerifyVpn(Lister):
    """Send packets between all pairs of a Vpn now; exit code 1 if one does not cross"""

    _crossed = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return named(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        found = self.client.vpns.verify(self.client.vpns.find(parsed_args.vpn).value.id).value
        self._crossed = found.ok
        return table(found.pairs, PAIRS)

    def run(self, parsed_args: argparse.Namespace) -> int:
        return super().run(parsed_args) or int(not self._crossed)


class AdoptVpn(ShowOne):
    """Become the home of a Vpn whose home is lost for good"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = named(super().get_parser(prog_name))
        parser.add_argument("--force", action="store_true", help="Though its home answers")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        vpns = self.client.vpns
        return shown(vpns.adopt(vpns.find(parsed_args.vpn), force=parsed_args.force).value)


def named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("vpn", metavar="<vpn>", help="Name or ID")
    return parser


def _wanted(vpn: VpnView, asked: argparse.Namespace) -> bool:
    return (
        asked.kind in (None, vpn.kind)
        and asked.phase in (None, vpn.phase.value)
        and (asked.member is None or asked.member in {each.site for each in vpn.members})
    )


def _end(end: EndView) -> str:
    """`nantes/web 10.20.0.2`, as far as it is known."""
    return f"{'/'.join(part for part in (end.site, end.host) if part)} {end.address}".strip()
