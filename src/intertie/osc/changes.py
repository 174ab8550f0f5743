"""`openstack intertie vpn create|set|unset|delete`: with --wait until it is so everywhere, with --plan only shown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from osc_lib import exceptions

from intertie import client
from intertie.client import Attachment, Terms
from intertie.client.vpns import Seen
from intertie.model.errors import IntertieError
from intertie.model.views import PlanView
from intertie.osc.command import Command, Shown, ShowOne, printed, shown
from intertie.osc.vpns import named

FORM = "<site>[/<cell>][:<network>]"


class CreateVpn(ShowOne):
    """Join networks of several sites; for l2 the first attachment names the network that is stretched"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="New Vpn name")
        parser.add_argument(
            "--kind", choices=("l2", "l3"), required=True, help="l2 stretches one network; l3 routes between networks"
        )
        _attach(parser, "A member (repeat option for each)", required=True)
        parser.add_argument("--transport", metavar="<transport>", default="", help="What carries it")
        parser.add_argument("--require", choices=("all", "any"), default="all", help="Whether one refusal ends it")
        return _changing(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        wish = client.VpnRequest(
            name=parsed_args.name,
            kind=client.VpnKind(parsed_args.kind),
            attachments=client.attachments(parsed_args.attach),
            transport=parsed_args.transport,
            require=client.Require(parsed_args.require),
        )
        terms = _terms(parsed_args)
        if parsed_args.plan:
            return _planned(self.client.vpns.plan_create(wish).value)
        if not terms.wait:
            return shown(self.client.vpns.create(wish, terms).value)
        return shown(client.created(self.client, wish, terms, _sayer(self)).checked().value)


class _Change(ShowOne):
    """A Vpn with other members or another name."""

    def changed(self, seen: Seen, members: Sequence[Attachment], name: str, asked: argparse.Namespace) -> Shown:
        terms = _terms(asked)
        vpns = self.client.vpns
        if asked.plan:
            return _planned(vpns.plan_update(seen, members, name=name, terms=terms).value)
        if not terms.wait:
            return shown(vpns.update(seen, members, name=name, terms=terms).value)
        return shown(client.updated(self.client, seen, members, name, terms, _sayer(self)).checked().value)


class SetVpn(_Change):
    """Rename a Vpn, or add members to it"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = named(super().get_parser(prog_name))
        parser.add_argument("--name", metavar="<name>", default="", help="New Vpn name")
        _attach(parser, "A member that comes (repeat option for each)")
        parser.add_argument(
            "--no-attach", action="store_true", help="With --attach: exactly these members; the others leave"
        )
        return _changing(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        seen = self.client.vpns.find(parsed_args.vpn)
        come = client.attachments(parsed_args.attach)
        if parsed_args.no_attach and not come:
            raise exceptions.CommandError("a Vpn has members: --attach those that stay, or delete it")
        named_anew = {each.site for each in come}
        stay = [] if parsed_args.no_attach else [each for each in members(seen) if each.site not in named_anew]
        return self.changed(seen, [*stay, *come], parsed_args.name, parsed_args)


class UnsetVpn(_Change):
    """Let members leave a Vpn"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = named(super().get_parser(prog_name))
        parser.add_argument(
            "--attach", metavar="<site>", action="append", required=True, help="A member that leaves (repeat option)"
        )
        return _changing(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        seen = self.client.vpns.find(parsed_args.vpn)
        leave = set(parsed_args.attach)
        if strangers := leave - {each.site for each in members(seen)}:
            raise exceptions.CommandError(f"{seen.value.name} has no member {', '.join(sorted(strangers))}")
        stay = [each for each in members(seen) if each.site not in leave]
        return self.changed(seen, stay, "", parsed_args)


class DeleteVpn(Command):
    """Delete Vpn(s); each is gone when every member has let go"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("vpn", metavar="<vpn>", nargs="+", help="Vpn(s) to delete (name or ID)")
        parser.add_argument("--force", action="store_true", help="Though ports are in use; they stay where they are")
        parser.add_argument("--wait", metavar="<seconds>", type=float, default=0.0, help="Until they are gone")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        failed = 0
        for wanted in parsed_args.vpn:
            try:
                self._delete(wanted, parsed_args)
            except IntertieError as error:
                failed += 1
                hint = f" ({error.hint})" if error.hint else ""
                self.log.error("Failed to delete Vpn %s: %s [%s]%s", wanted, error.detail, error.code, hint)
        if failed:
            raise exceptions.CommandError(f"{failed} of {len(parsed_args.vpn)} Vpns failed to delete.")

    def _delete(self, wanted: str, asked: argparse.Namespace) -> None:
        seen = self.client.vpns.find(wanted)
        terms = Terms(wait=asked.wait)
        if asked.wait:
            client.deleted(self.client, seen, asked.force, terms, _sayer(self))
        else:
            self.client.vpns.delete(seen, force=asked.force, terms=terms)


def members(seen: Seen) -> list[Attachment]:
    """Those that are to stay, as a change names them: by site alone, for its network cannot be exchanged."""
    return [Attachment(site=each.site) for each in seen.value.members if not each.leaving]


def _attach(parser: argparse.ArgumentParser, help: str, required: bool = False) -> None:
    parser.add_argument(
        "--attach", metavar=FORM, action="append", default=None if required else [], required=required, help=help
    )


def _changing(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--wait", metavar="<seconds>", type=float, default=0.0, help="Until it is so everywhere")
    parser.add_argument("--plan", action="store_true", help="Show what would change at each member; change nothing")
    parser.add_argument("--base", metavar="<version>", default="", help="Only if it still does what that plan says")
    return parser


def _terms(asked: argparse.Namespace) -> Terms:
    return Terms(wait=asked.wait, match=asked.base)


def _sayer(command: Command | ShowOne) -> client.Say:
    """Progress goes to stderr, unless `openstack -q`: stdout is for the result."""
    last: list[str] = []

    def say(words: str) -> None:
        if last[-1:] != [words] and command.app.options.verbose_level > 0:
            command.app.stderr.write(f"{words}\n")
        last[:] = [words]

    return say


def _planned(plan: PlanView) -> Shown:
    facts: dict[str, Any] = {
        "base_version": plan.base_version,
        "changes": plan.changes,
        "notes": plan.notes,
        "refusals": plan.refusals,
    }
    return tuple(facts), tuple(printed(value) for value in facts.values())
