"""How often what happens in stories: the usual rates, from which profiles differ.

Every rate is a weight beside the others of its table, not a probability; the names are those of the functions in the
tables of the modules in `workload`.
"""

from __future__ import annotations

from collections.abc import Mapping

Rates = Mapping[str, float]

DEEDS: Rates = {
    "network": 2,
    "host": 9,
    "stretch": 4,
    "route": 4,
    "grow": 3,
    "shrink": 2,
    "delete": 3,
    "drop-host": 4,
    "drop-network": 2,
    "verify": 2,
    "grant-project": 1,
    "enrol": 0.3,
}
"""What users ask for that should succeed."""

CONTESTED: Rates = {
    # Wrong by itself.
    "taken-name": 2,
    "unknown-network": 1,
    "unknown-site": 1,
    "alone": 1,
    "no-such": 1,
    "network-in-two": 2,
    "other-prefixes": 1,
    "unmapped": 2,
    "no-more-mapped": 1,
    "too-small": 1,
    "odd-prefix": 1.5,
    "network-in-use": 1,
    "exchange-network": 1,
    "other-project": 1,
    "foreign-network": 0,  # only where projects are the point
    # Right, at the wrong moment or place.
    "delete-in-use": 3,
    "forced": 1,
    "leave-in-use": 2,
    "overlap": 3,
    "adopt-living": 1,
    "change-cut-off": 2,
    "change-elsewhere": 3,
    "delete-elsewhere": 2,
    "take-back": 1,
    # Two at once.
    "same-name": 2,
    "same-key": 2,
    "crossing": 3,
    "two-changes": 3,
    "delete-and-change": 2,
    "delete-and-host": 2,
    "two-stretch-one": 2,
    "remake": 3,
    "two-adopt": 1,
    "swap-member": 2,
    "used-address": 1,
    "asked-address": 2,
    "enrol-again": 0.5,
    "orphan": 2,
}
"""What is wrong, comes too early or late, or meets something else."""

FAULTS: Rates = {
    "cut": 3,
    "one-way": 2,
    "isolate": 2,
    "heal": 1,
    "drop": 2,
    "duplicate": 2,
    "late": 2,
    "clog": 2,
    "reset": 2,
    "half-open": 1,
    "crash": 3,
    "crash-point": 6,
    "mass-restart": 0.5,
    "pause": 2,
    "clock": 1.5,
    "disk-full": 1.5,
    "lose-store": 0.7,
    "restore": 0.7,
    "clone": 0.0,  # only where disks are the point
    "cloud-fails": 2,
    "cloud-done": 1.5,
    "cloud-partial": 1,
    "cloud-slow": 2.5,
    "break-segment": 2,
    "occupy": 1.5,
    "lie": 3,
    "forget": 0.4,
}
"""What breaks. Each kind is off in some stories (`swarm`)."""

UNSEEN: Rates = {
    "unseen-grant": 3,
    "adopted-while-closing": 2,
    "leaver-dies": 3,
    "number-again": 2,
    "waits-for-the-silent": 1,
    "deaf-after-a-loss": 2,
    "dies-while-it-recovers": 2,
    "all-at-once": 3,
    "hears-and-dies": 3,
    "members-overlap": 2,
    "grabbed-prefix": 1,
}
"""Scenes in which somebody does not see something."""

SCENES: Rates = {
    "crash-point": 5,
    "hot-spot": 2,
    "churn": 3,
    "adoption": 2,
    "join-and-forget": 0.7,
    "split": 2,
    "swizzle": 1,
    "lost-store": 1,
    "old-backup": 0.7,
    "twin": 0.0,  # as `clone`
    "failing-cloud": 1.5,
    "foreign-port": 1.5,
    "full-disk": 1,
    "time-leap": 1,
    "stand-still": 1,
    "liar": 1,
    "blackout": 0.5,
    "dead-member": 1.5,
    **{name: rate / 6 for name, rate in UNSEEN.items()},
    # Profile `run-dry`.
    "run-dry": 0.0,
    "got-and-left": 0.0,
    "given-and-adopted": 0.0,
}
"""Several steps that belong together, so that rare conjunctions come about."""

POINTS: Rates = {
    "before-write": 1,
    "after-write": 1,
    "before-send": 1,
    "after-send": 1,
    "before-reply": 1,
    "after-reply": 1,
    "before-driver": 1,
    "after-driver": 1,
}
"""Where an agent may die."""

LIES: Rates = {
    "foreign-record": 2,
    "forged": 1,
    "equivocate": 2,
    "foreign-prefix": 2,
    "replay": 2,
    "rollback": 1,
    "huge-cursor": 1,
    "sights": 1,
    "nonsense": 1,
    "impersonate-home": 2,
    "stolen-certificate": 2,
    "grab-prefix": 2,
    "resurrect": 1.5,
    "other-nature": 1.5,
    "odd-words": 2,
    "wrong-id": 1,
    "inner-kind": 1,
}
"""What a lying peer says."""

PREFIXES: Rates = {"ipv4": 5, "ipv6": 2, "dual": 2, "tiny": 1}
PROJECTS: Rates = {"demo": 8, "ops": 2}
MIX: Rates = {"deeds": 48, "contested": 27, "faults": 20, "scenes": 10}
