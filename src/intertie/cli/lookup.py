"""NAME or id → the thing itself, by asking the agent."""

from __future__ import annotations

from intertie.cli.body import Body
from intertie.cli.client import Client, Reply, segment
from intertie.cli.problem import Problem, usage


def vpn(client: Client, wanted: str) -> Reply:
    """The Vpn with its ETag. Problem `not-found` for none, `usage` when several projects have one of that name."""
    if "." in wanted:
        # A name is a DNS label; an id has its home's name before a dot.
        return client.get(f"/v1/vpns/{segment(wanted)}")
    found = [each for each in client.get("/v1/vpns", name=wanted).body.parts("items") if each.text("name") == wanted]
    if len(found) > 1:
        ids = ", ".join(f"{each.text('id')} ({each.text('project')})" for each in found)
        raise usage(f"several Vpns are called {wanted}", f"give an id: {ids}")
    return client.get(f"/v1/vpns/{segment(found[0].text('id') if found else wanted)}")


def item(client: Client, path: str, what: str, wanted: str) -> Body:
    """The one of a list whose id or name is `wanted`."""
    items = client.items(path).parts("items")
    found = [each for each in items if each.text("id") == wanted] or [
        each for each in items if each.text("name") == wanted
    ]
    if not found:
        raise Problem("not-found", f"no {what} {wanted}", f"intertie {what} list", 404)
    if len(found) > 1:
        ids = ", ".join(f"{each.text('id')} ({each.text('project')})" for each in found)
        raise usage(f"several {what}s are called {wanted}", f"give an id: {ids}")
    return found[0]
