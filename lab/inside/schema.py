"""Makes Neutron's tables in an empty database: `schema.py URL`.

Neutron's migrations alter constraints, which SQLite cannot; the models that they lead to can be made at once. What a
migration would have put into the tables is the rules of a project's default security group.
"""

import sys
import uuid
from importlib import import_module
from typing import Any

DIRECTIONS = ("egress", "ingress")
ETHERTYPES = ("IPv4", "IPv6")


def make(url: str) -> None:
    sa: Any = import_module("sqlalchemy")
    head: Any = import_module("neutron.db.migration.models.head")
    import_module("networking_bgpvpn.neutron.db.bgpvpn_db")  # its tables come to the same metadata
    engine = sa.create_engine(url)
    if url.startswith("sqlite:"):
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # stays with the file
    head.get_metadata().create_all(engine)
    with engine.begin() as connection:
        _default_rules(sa, connection)


def _default_rules(sa: Any, connection: Any) -> None:
    """All may go out; in may come who is in the same group (`PARENT`): what a fresh installation has."""
    rules: Any = import_module("neutron.db.models.securitygroup_default_rules").SecurityGroupDefaultRule.__table__
    attributes: Any = import_module("neutron_lib.db.standard_attr").StandardAttribute.__table__
    for direction in DIRECTIONS:
        for ethertype in ETHERTYPES:
            common = connection.execute(sa.insert(attributes).values(resource_type="securitygroupdefaultrules"))
            row = {
                "id": str(uuid.uuid4()),
                "standard_attr_id": common.inserted_primary_key[0],
                "direction": direction,
                "ethertype": ethertype,
                "remote_group_id": "PARENT" if direction == "ingress" else None,
                "used_in_default_sg": True,
                "used_in_non_default_sg": direction == "egress",
            }
            connection.execute(sa.insert(rules).values(**row))


if __name__ == "__main__":
    url, sys.argv = sys.argv[1], sys.argv[:1]  # oslo.config reads what it finds there
    make(url)
