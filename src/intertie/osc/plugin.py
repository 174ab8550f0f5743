"""What OpenStackClient asks of a plug-in: its options, and a client made of the login that `openstack` holds."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

from keystoneauth1.exceptions import CatalogException
from osc_lib.clientmanager import ClientManager

from intertie.client import SERVICE_TYPE, Client, place_of
from intertie.osc.command import API_NAME, told

__all__ = [
    "API_NAME",
    "API_VERSIONS",
    "API_VERSION_OPTION",
    "DEFAULT_API_VERSION",
    "build_option_parser",
    "make_client",
]

API_VERSION_OPTION = "os_intertie_api_version"
API_VERSIONS = {"1": "intertie.client.Client"}
DEFAULT_API_VERSION = "1"
ENDPOINT = "OS_INTERTIE_ENDPOINT"


def make_client(instance: ClientManager) -> Client:
    """The agent that --os-intertie-endpoint names, else the catalogue for this region and interface."""
    with told():
        return Client(place_of(instance.session, _endpoint(instance)))


def _endpoint(instance: ClientManager) -> str | None:
    if given := instance.get_configuration().get("intertie_endpoint"):
        return str(given)
    with suppress(CatalogException):
        return instance.get_endpoint_for_service_type(
            SERVICE_TYPE, region_name=instance.region_name, interface=instance.interface
        )
    return None


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--os-intertie-api-version",
        metavar="<intertie-api-version>",
        default=os.environ.get("OS_INTERTIE_API_VERSION", DEFAULT_API_VERSION),
        help=f"Version of Intertie's API, default {DEFAULT_API_VERSION} (Env: OS_INTERTIE_API_VERSION)",
    )
    parser.add_argument(
        "--os-intertie-endpoint",
        metavar="<url>",
        default=os.environ.get(ENDPOINT),
        help=f"The site's agent, in place of {SERVICE_TYPE} in the catalogue (Env: {ENDPOINT})",
    )
    return parser
