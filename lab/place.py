"""A cloud beside which an agent runs, as its tenants use it: networks, and machines on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from lab import machines
from lab.beside import Beside
from lab.environment import LabError
from lab.machines import Machine
from lab.neutron import Facts, Neutron

PATIENCE = 60.0


class Place:
    """Of project demo. What is made goes when the `ends` that it is given do."""

    def __init__(self, agent: Beside) -> None:
        self.agent = agent
        self.cloud = Neutron(agent.region)
        self._pingable = self.cloud.pingable(agent.project)

    def network(self, name: str, prefix: str, ends: ExitStack, **more: object) -> Facts:
        """A network with one subnet, of which `more` is; the agent has seen it."""
        made = self.cloud.network(name, self.agent.project, prefix, **more)
        ends.callback(self._take_away, str(made["id"]))
        self._until(
            lambda: name in {network.name for network in self.agent.tenant.networks.list()}, f"network {name}"
        )
        return made

    def boot(self, network: Facts, name: str, ends: ExitStack, *, pingable: bool = True) -> Machine:
        """A machine that runs; echoes are let in to it, or only what the default security group lets in."""
        group = self._pingable if pingable else ""
        port = self.cloud.port(network, self.agent.site.name, name, group)
        ends.callback(self.cloud.delete, "port", port["id"])
        (subnet,) = self.cloud.list("subnet", network_id=network["id"])
        machine = machines.boot(self.agent.site, name, port, subnet, int(network["mtu"]))
        ends.callback(machines.unplug, machine)
        self.cloud.until_active(str(port["id"]))
        # The agent looks every few seconds, and shares out what it does not know to be taken.
        self._until(lambda: machine.address in self._taken(), f"address {machine.address}")
        return machine

    def _take_away(self, network: str) -> None:
        """As soon as the agent's port has left it."""
        self._until(lambda: not self._ports(network), f"that its port on network {network} is to go")
        self.cloud.delete("network", network)

    def _ports(self, network: str) -> list[Facts]:
        return self.cloud.list("port", network_id=network, device_owner="network:intertie")

    def _taken(self) -> set[str]:
        return {str(a) for network in self.agent.tenant.networks.list() for a in network.addresses_in_use}

    def _until(self, seen: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not seen():
            if time.monotonic() > end:
                raise LabError(f"the agent of {self.agent.name} does not see {what} within {PATIENCE:g} s")
            time.sleep(0.3)
