"""Intertie from Python: `connect()` gives a `Client`, whose answers are the shapes of `model.views`.

    from intertie.client import connect

    with connect("http://127.0.0.1:7575", token="itk_…") as site:
        for vpn in site.vpns.list():
            print(vpn.name, vpn.phase)

Both command lines are plain users of it. Of Intertie it imports `model` alone, and httpx when something is asked.
"""

from __future__ import annotations

from intertie.client.attaching import attachment, attachments
from intertie.client.calls import Answer, Terms
from intertie.client.catalogue import SERVICE_TYPE, KeystoneSession, place_of
from intertie.client.client import Client, connect
from intertie.client.errors import Told, document_of
from intertie.client.events import Message
from intertie.client.listing import Listing
from intertie.client.place import Flags, Place, find
from intertie.client.settling import created, deleted, updated
from intertie.client.waiting import Say, Settled
from intertie.model.bodies import Attachment, Require, VpnKind
from intertie.model.views import VpnRequest

__all__ = [
    "SERVICE_TYPE",
    "Answer",
    "Attachment",
    "Client",
    "Flags",
    "KeystoneSession",
    "Listing",
    "Message",
    "Place",
    "Require",
    "Say",
    "Settled",
    "Terms",
    "Told",
    "VpnKind",
    "VpnRequest",
    "attachment",
    "attachments",
    "connect",
    "created",
    "deleted",
    "document_of",
    "find",
    "place_of",
    "updated",
]
