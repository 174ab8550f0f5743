"""What the drivers of an OpenStack site share: its services, and the switch of the host that an agent runs on."""
