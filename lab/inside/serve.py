"""Serves Keystones or Neutrons: `serve.py keystone|neutron ADDRESS FOLDER:PORT…`, until SIGTERM.

What all of a kind import is imported once; then each service is a fork, whose pid is the next line of stdout. One
thread a service: Neutron is made to run so, and SQLite would not gain from more.
"""

import os
import signal
import sys
import tempfile
from importlib import import_module
from types import FrameType, ModuleType
from typing import Any

SHARED = {
    "keystone": ("keystone.server.flask.core", "keystone.api", "keystone.server.wsgi", "keystone.token"),
    "neutron": (
        "neutron.server.api",
        "neutron.plugins.ml2.plugin",
        "neutron.services.l3_router.l3_router_plugin",
        "neutron.services.segments.plugin",
        "neutron.pecan_wsgi.app",
        "neutron.db.migration.models.head",
        "networking_bgpvpn.neutron.services.plugin",
        "keystonemiddleware.auth_token",
        "oslo_messaging._drivers.impl_fake",
    ),
}


class _Immediate:
    """SQLAlchemy, but that a transaction takes SQLite's write lock as it begins: a second writer then waits, where
    it would fail at once with "database is locked" on going from reading to writing."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def text(self, statement: str) -> Any:
        return self._real.text("BEGIN IMMEDIATE" if statement == "BEGIN" else statement)


def _application(kind: str, folder: str) -> Any:
    if kind == "keystone":
        os.environ["OS_KEYSTONE_CONFIG_DIR"] = folder
    else:
        os.environ["OS_NEUTRON_CONFIG_DIR"], os.environ["OS_NEUTRON_CONFIG_FILES"] = folder, "neutron.conf"
        # ML2/OVN asks uWSGI for the number of workers, and keeps files in the temporary folder by the parent's pid,
        # which all the forks share.
        uwsgi: Any = ModuleType("uwsgi")
        uwsgi.numproc = 1
        sys.modules["uwsgi"] = uwsgi
        tempfile.tempdir = folder
    return import_module(f"{kind}.wsgi.api").application


def _listeners() -> list[Any]:
    """What neutron-rpc-server would host: the agents' side of each plug-in."""
    service: Any = import_module("neutron.service")
    directory: Any = import_module("neutron_lib.plugins.directory")
    plugins = [(service.RpcWorker, directory.get_plugins().values())]
    plugins.append((service.RpcReportsWorker, [directory.get_plugin()]))
    found: list[Any] = []
    for worker, ones in plugins:
        for plugin in ones:
            start = getattr(plugin, worker.start_listeners_method, None)
            try:
                found += (start() or []) if start is not None else []
            except NotImplementedError:
                continue
    return found


def _serve(kind: str, folder: str, address: str, port: int) -> None:
    log = os.open(os.path.join(folder, "service.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    application = _application(kind, folder)
    with open(os.path.join(folder, f"{kind}.conf"), encoding="utf-8") as settings:
        kept = _listeners() if "rabbit://" in settings.read() else []
    print(f"{len(kept)} listeners", flush=True)
    import_module("waitress").serve(application, host=address, port=port, threads=1, backlog=256, ident=None)


def main(kind: str, address: str, places: list[str]) -> None:
    for module in ("waitress", *SHARED[kind]):
        import_module(module)
    if kind == "neutron":
        engines: Any = import_module("oslo_db.sqlalchemy.engines")
        engines.sqlalchemy = _Immediate(engines.sqlalchemy)
    children: list[int] = []
    for place in places:
        folder, _, port = place.rpartition(":")
        if (pid := os.fork()) == 0:
            try:
                _serve(kind, folder, address, int(port))
            finally:
                os._exit(1)
        children.append(pid)
        print(pid, flush=True)

    def end(number: int, frame: FrameType | None) -> None:
        for child in children:
            os.kill(child, signal.SIGKILL)  # Neutron under OVN does not heed SIGTERM
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while True:
        signal.pause()


if __name__ == "__main__":
    _, kind, address, *places = sys.argv
    sys.argv = [kind]  # oslo.config reads what it finds there
    main(kind, address, places)
