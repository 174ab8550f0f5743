"""One bad object never stops the others (CVE-2015-3221).

What a record does to a decision that was not made for it is a fault of ours, whoever wrote the record. Each record is
decided on apart, so that it costs what it is about and nothing else; what stands of it stays as it is, and this is
told.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager


@contextmanager
def apart(faults: MutableMapping[str, str], id: str) -> Iterator[None]:
    """What is raised inside ends here, noted under the record's id."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the last resort of a loop over records, which tells what it meets
        faults[id] = f"{type(error).__name__}: {error}"[:200]
