"""What an agent writes, the client reads, of whatever age the agent is; and nonsense is told as such."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.client.reading import reader
from intertie.client.vpns import read_vpn
from intertie.model import views
from intertie.model.codec import plain
from intertie.model.errors import IntertieError
from intertie.model.views import Event, Health, HostView, Phase, PlanView, SiteView, VpnView
from tests.unit.cli_site import SITE, member, vpn, waiting

SHOWN = [
    found
    for name, found in vars(views).items()
    if is_dataclass(found) and isinstance(found, type) and found.__module__ == views.__name__
]

st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def as_json(value: Any) -> Any:
    """As the API writes it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name.rstrip("_"): as_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple | list):
        return [as_json(each) for each in value]
    if isinstance(value, dict):
        return {name: as_json(each) for name, each in value.items()}
    return plain(value)


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_whatever_is_shown_is_read_back(kind: type, data: st.DataObject) -> None:
    value = data.draw(st.from_type(kind))
    assert reader(kind)(as_json(value)) == value


def test_there_is_something_to_read() -> None:
    assert {VpnView, SiteView, HostView, Event, PlanView} <= {*SHOWN}


def test_what_an_older_agent_does_not_have_is_empty() -> None:
    told = vpn(member("nantes"), waiting("lyon"))
    for new in ("superseded", "proposals", "hint", "pairs"):
        del told[new]
    del told["members"][0]["ranges"]
    told["members"][1]["loss"] = None
    found = read_vpn(told)
    assert (found.superseded, found.proposals, found.hint, found.pairs) == ((), (), "", ())
    assert (found.members[0].ranges, found.members[1].loss) == ((), None)
    site = reader(SiteView)({"name": "nantes"})
    assert (site.location, site.transports, site.warnings, site.cloned_at) == (None, {}, (), [])


def test_what_a_newer_agent_has_is_no_error() -> None:
    later = member("nantes", health="dreaming", mood="fine")
    found = read_vpn(vpn(later, phase="migrating", shade={"deep": [1]}))
    assert (found.phase, found.members[0].health) == ("migrating", "dreaming")
    assert isinstance(found.phase, Phase)
    assert found.phase not in {*Phase}
    assert found.members[0].health is not Health.READY
    assert found.phase.value == "migrating"


@pytest.mark.parametrize(
    ("told", "where"),
    [
        ([], "it is no object"),
        ("Vpn", "it is no object"),
        ({**vpn(), "members": 3}, "members is no list"),
        ({**vpn(), "mtu": "large"}, "mtu is no number"),
        ({**vpn(), "created_at": "yesterday"}, "created_at is none: Invalid isoformat string: 'yesterday'"),
        (vpn(member("nantes"), member("lyon", realised="so")), "members[1].realised is neither true nor false"),
        (vpn(member("nantes", ranges=[{"first": "x", "last": "y"}])), "members[0].ranges[0].first is none"),
    ],
)
def test_nonsense_is_told_and_where(told: Any, where: str) -> None:
    with pytest.raises(IntertieError) as refused:
        read_vpn(told)
    assert refused.value.code == "broken"
    assert where in refused.value.detail


def test_entries_are_told_by_their_names() -> None:
    with pytest.raises(IntertieError, match=r"transports\.vxlan\.overhead is no number"):
        reader(SiteView)({**SITE, "transports": {"vxlan": {"overhead": []}}})
