"""CPU seconds of `flts verify` on all of PobleSec, alone in its store and beside a thousand other runs."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from flts.contracts.canonical import canonical_json, digest
from tests.bench.measure import FLTS, Figure, best_of, fresh_folder, seconds
from tests.bench.speed import FULL

OTHERS = 1000
BRIEF = [part for name in ("gru", "lstm") for part in ("--set", f"models.{name}.epochs=1")]
"""What a report costs does not depend on how long a network was fitted."""
FIVE = [part for name in ("prophet", "automfles", "ridge") for part in ("--set", f"models.{name}={{}}")]


def verify() -> Iterator[Figure]:
    """Without a broker and without MLflow."""
    with fresh_folder() as folder:
        run = cpu([*FULL, "--tracking", "off", *BRIEF, *FIVE], folder)
        alone = best_of(3, lambda: cpu(["verify"], folder))
        reference = f"{alone / run:.2f} × {run:.0f} s: the run itself, its networks fitted for one epoch"
        yield Figure("`flts verify`, PobleSec, five models, CPU", f"{alone:.1f} s", "6 s", reference, "verify")
        add_runs(folder / ".flts" / "objects")
        many = best_of(3, lambda: cpu(["verify"], folder))
        reference = f"{many / alone:.2f} × {alone:.1f} s: alone in its store"
        yield Figure(f"the same beside {OTHERS:,} other runs, CPU", f"{many:.1f} s", "1.2 × alone", reference, "verify")


def cpu(arguments: list[str], folder: Path) -> float:
    """CPU seconds of `flts` and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds([*FLTS, *arguments], folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def add_runs(objects: Path) -> None:
    """Half of them of the same experiment, half of others; all are older."""
    (folder,) = (objects / "runs").iterdir()
    first, number = folder / "0001", 1
    for place in range(OTHERS):
        if place % 2:
            number += 1
            target = folder / f"{number:04d}"
        else:
            config_hash = digest(place)
            target = objects / "runs" / config_hash / "0001"
            shutil.copy(objects / "specs" / f"{folder.name}.json", objects / "specs" / f"{config_hash}.json")
        shutil.copytree(first, target)
        for file in target.glob("*.json"):
            part = json.loads(file.read_bytes())
            older = {"started": "2020-01-01T00:00:00+00:00"} if file.name == "claim.json" else {}
            file.write_bytes(canonical_json({**part, "run": int(target.name), **older}))
