"""`--os-cloud NAME`: the agent that an OpenStack cloud's catalogue names, called by who clouds.yaml says.

clouds.yaml is looked for as OpenStack's own programs do ($OS_CLIENT_CONFIG_FILE, here, ~/.config/openstack,
/etc/openstack). openstacksdk is loaded for this alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from intertie.cli.problem import usage
from intertie.client import SERVICE_TYPE, Place, place_of
from intertie.model.errors import Unauthenticated, Unavailable

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion

T = TypeVar("T")

ENDPOINT = "OS_INTERTIE_ENDPOINT"


def place(cloud: str, url: str = "", environment: Mapping[str, str] = os.environ) -> Place:
    """`url`, else $OS_INTERTIE_ENDPOINT, else the catalogue's endpoint. Refused (usage) if clouds.yaml has no such
    cloud or the catalogue no such service; Unauthenticated, Unavailable (unreachable) if Keystone does not let in."""
    for talker in ("keystoneauth", "openstack"):
        # Their warnings would stand beside ours on stderr, where programs find one problem and nothing else.
        logging.getLogger(talker).addHandler(logging.NullHandler())
    region = _region(cloud)
    with _told(cloud):
        session: Session = region.get_session()
        found = url or environment.get(ENDPOINT) or region.get_endpoint(SERVICE_TYPE)
        found = found or session.get_endpoint(
            service_type=SERVICE_TYPE, region_name=region.region_name, interface=region.interface or "public"
        )
    return place_of(_Guarded(session, cloud), found)


def _region(cloud: str) -> CloudRegion:
    try:
        from openstack.config import OpenStackConfig
        from openstack.exceptions import ConfigException
    except ImportError as error:
        raise usage(f"--os-cloud needs openstacksdk: {error}", "pip install 'intertie[openstack]'") from error
    from keystoneauth1.exceptions import ClientException

    try:
        return OpenStackConfig().get_one(cloud=cloud)
    except (ConfigException, ClientException, OSError) as error:
        raise usage(f"cloud {cloud}: {error}", "openstack configuration show; clouds.yaml") from error


class _Guarded:
    """The session, with errors of ours."""

    def __init__(self, session: Session, cloud: str) -> None:
        self._session = session
        self._cloud = cloud
        self.verify: bool | str | None = session.verify
        self.cert: str | tuple[str, str] | None = session.cert

    def get_token(self) -> str | None:
        return self._do(self._session.get_token)

    def invalidate(self) -> bool:
        return self._do(self._session.invalidate)

    def _do(self, ask: Callable[[], T]) -> T:
        with _told(self._cloud):
            return ask()


@contextmanager
def _told(cloud: str) -> Iterator[None]:
    from keystoneauth1 import exceptions

    try:
        yield
    except (exceptions.Unauthorized, exceptions.Forbidden) as error:
        raise Unauthenticated(
            f"Keystone does not let {cloud} in: {error}", hint=f"openstack --os-cloud {cloud} token issue"
        ) from error
    except (exceptions.ConnectionError, exceptions.HttpError) as error:
        raise Unavailable(
            f"Keystone of {cloud}: {error}", code="unreachable", hint="its auth_url in clouds.yaml"
        ) from error
    except exceptions.ClientException as error:
        raise usage(f"cloud {cloud}: {error}", f"openstack --os-cloud {cloud} token issue") from error
