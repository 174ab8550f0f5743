"""A cloud beside which an agent runs, as its tenants use it: networks, and machines on them."""

from __future__ import annotations

import time
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
        ends.callback(self.cloud.delete, "network", made["id"])
        end = time.monotonic() + PATIENCE
        while name not in {network.name for network in self.agent.tenant.networks.list()}:
            if time.monotonic() > end:
                raise LabError(f"the agent of {self.agent.name} does not see network {name}")
            time.sleep(0.3)
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
        return machine
