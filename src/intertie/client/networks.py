"""/v1/networks and /v1/hosts: what this site's own cloud holds."""

from __future__ import annotations

from collections.abc import Sequence

from intertie.client.calls import Answer, Calls, Request, segment
from intertie.client.listing import Listing, pick
from intertie.client.reading import Json, nothing, reader
from intertie.model.views import HostView, NetworkView


class Networks:
    """Networks of this site."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self) -> Listing[NetworkView]:
        return Listing(self._calls, "/v1/networks", NetworkView)

    def get(self, wanted: str) -> Answer[NetworkView]:
        """By id, or by name."""
        return self._calls.ask(reader(NetworkView), Request(path=f"/v1/networks/{segment(wanted)}"))

    def find(self, wanted: str) -> NetworkView:
        """By id, or by a name that only one has."""
        return pick(self.list(), "network", wanted)

    def create(self, name: str, prefix: str, *, bridge: str = "", mtu: int | None = None) -> Answer[NetworkView]:
        """`prefix`: one of each IP version, with commas. With `bridge`, of a Linux bridge that is there."""
        wish: dict[str, Json] = {"name": name, "prefix": prefix}
        if bridge:
            wish["bridge"] = bridge
        if mtu is not None:
            wish["mtu"] = mtu
        return self._calls.ask(reader(NetworkView), Request(method="POST", path="/v1/networks", body=wish))

    def delete(self, id: str) -> None:
        """Refused while hosts or Vpns use it."""
        self._calls.ask(nothing, Request(method="DELETE", path=f"/v1/networks/{segment(id)}"))


class Hosts:
    """Hosts of this site."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self) -> Listing[HostView]:
        return Listing(self._calls, "/v1/hosts", HostView)

    def get(self, wanted: str) -> Answer[HostView]:
        """By id, or by name."""
        return self._calls.ask(reader(HostView), Request(path=f"/v1/hosts/{segment(wanted)}"))

    def find(self, wanted: str) -> HostView:
        """By id, or by a name that only one has."""
        return pick(self.list(), "host", wanted)

    def create(self, name: str, network: str, addresses: Sequence[str] = ()) -> Answer[HostView]:
        """On a network, by its name or id; without `addresses` it gets the next free ones."""
        wish: dict[str, Json] = {"name": name, "network": network}
        if addresses:
            wish["addresses"] = [*addresses]
        return self._calls.ask(reader(HostView), Request(method="POST", path="/v1/hosts", body=wish))

    def delete(self, id: str) -> None:
        """It goes with the next round, which is at once."""
        self._calls.ask(nothing, Request(method="DELETE", path=f"/v1/hosts/{segment(id)}"))
