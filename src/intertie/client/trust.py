"""Whom https believes: the settings of OpenStack's clients (`--os-cacert`, `--os-cert`, `--insecure`) for httpx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from intertie.client.errors import usage

if TYPE_CHECKING:
    import ssl


def trusted(verify: bool | str, cert: str | tuple[str, str] | None) -> bool | ssl.SSLContext:
    """What httpx takes as `verify`. Refused (usage) if a file cannot be read or is none of the kind."""
    if cert is None and not isinstance(verify, str):
        return verify
    import ssl

    try:
        return _context(verify, cert)
    except (OSError, ssl.SSLError) as error:
        named = [verify] if isinstance(verify, str) else []
        named += [] if cert is None else [cert] if isinstance(cert, str) else [*cert]
        raise usage(f"{', '.join(named)}: {error}", "certificates and keys in PEM files") from error


def _context(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    import ssl

    if isinstance(verify, str):
        folder = Path(verify).is_dir()
        made = ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)
    else:
        made = ssl.create_default_context()
    if verify is False:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if isinstance(cert, str):
        made.load_cert_chain(cert)
    elif cert is not None:
        made.load_cert_chain(*cert)
    return made
