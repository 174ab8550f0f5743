"""`SITE[/CELL][:NETWORK]`, as a user types it → an attachment."""

from __future__ import annotations

from collections.abc import Sequence

from intertie.client.errors import usage
from intertie.model.bodies import Attachment

FORM = "SITE[/CELL][:NETWORK], for example nantes:blue, or lyon alone"


def attachment(text: str) -> Attachment:
    """`lyon/edge-1:blue` → site `lyon`, cell `edge-1`, network `blue`. Refused (usage) if it is none.

    Whether such a site or network exists is the agent's to say.
    """
    place, colon, network = text.partition(":")
    site, slash, cell = place.partition("/")
    if not site:
        raise usage(f"attachment {text!r} names no site", FORM)
    for mark, part, what in ((slash, cell, "cell"), (colon, network, "network")):
        if mark and not part:
            raise usage(f"attachment {text!r} has nothing after {mark!r}, where the {what} goes", FORM)
    if ":" in network or "/" in cell or "/" in network:
        raise usage(f"attachment {text!r} has too many parts", FORM)
    if any(each.isspace() or each == "," for each in text):
        raise usage(f"attachment {text!r} has a blank or a comma in it", f"one -a for each: {FORM}")
    return Attachment(site=site, cell=cell, network=network)


def attachments(texts: Sequence[str]) -> tuple[Attachment, ...]:
    """All of them, in order: the first of an L2 Vpn names the network that is stretched."""
    return tuple(attachment(text) for text in texts)
