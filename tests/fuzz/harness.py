"""Guided runs: `python -m tests.fuzz.harness FOLDER SECONDS SEED [TARGET…]`, all targets when none is named.

atheris measures which branches of Intertie each input reaches, and libFuzzer keeps and mutates those that reach new
ones. For each target FOLDER holds `TARGET/` with inputs to begin with, which grows; and afterwards `TARGET.log`, the
words of the run, `TARGET.ended`, its exit status (0: the time was over), and with a failure the input, in
`TARGET-crash-…`.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]


def guided(name: str, target: object, folder: Path, options: list[str]) -> None:
    """Never returns."""
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)

    def once(raw: bytes) -> None:
        target(raw)  # type: ignore[operator]

    bounds = ["-max_len=65536", "-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]
    atheris.Setup([name, str(folder / name), *options, *bounds, f"-artifact_prefix={folder}/{name}-"], once)
    atheris.Fuzz()
    os._exit(0)


def main(folder: Path, seconds: int, seed: int, names: list[str]) -> None:
    # Whatever of Intertie is imported from here on is instrumented; it must not have been imported before.
    with atheris.instrument_imports(include=["intertie"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    running: dict[int, str] = {}
    waiting = list(names or targets)
    while waiting or running:
        if waiting and len(running) < (os.cpu_count() or 1):
            name = waiting.pop(0)
            pid = os.fork()
            if pid == 0:
                guided(name, targets[name], folder, [f"-max_total_time={seconds}", f"-seed={seed}"])
            running[pid] = name
        else:
            pid, status = os.wait()
            (folder / f"{running.pop(pid)}.ended").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
