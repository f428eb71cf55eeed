"""Make the figures of this folder again: `python examples/seed-report/make_report.py FOLDER-OF-THE-DATA`.

Runs both experiments several times in a store of their own, then writes the manifest of each and their comparison. The
files hold figures, statistics and digests, no rows.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import flts
from flts.comparison import words
from flts.report.evidence import RunManifest, run_manifest
from flts.settings import load_settings
from flts.wiring import existing_store

HERE = Path(__file__).parent
ENVIRONMENTS = ("docker", "kubernetes")
RUNS = 5


def run(
    environment: str, data: Path, home: Path, *, runs: int = RUNS, models: Sequence[str] | None = None
) -> RunManifest:
    """The first of so many runs of an experiment; in each, every model is fitted."""
    settings = load_settings(home=home, tracking="off", environment=environment)
    spec = flts.load_spec(HERE / f"{environment}.toml", source=str(data), models=models).spec
    results = [flts.run(spec, settings=settings, recompute=number > 0) for number in range(runs)]
    return run_manifest(existing_store(settings), results[0].config_hash, results[0].run)


def comparison() -> str:
    """The page that compares the two manifests of this folder."""
    with contextlib.chdir(HERE):
        return words.markdown(flts.compare(*(f"{name}.json" for name in ENVIRONMENTS)))


def main(data: Path) -> None:
    """Write the manifests and the comparison."""
    for name in ENVIRONMENTS:
        with tempfile.TemporaryDirectory() as home:
            record = run(name, data, Path(home) / ".flts").model_dump(mode="json", by_alias=True)
        text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
        (HERE / f"{name}.json").write_text(f"{text}\n")
    (HERE / "comparison.md").write_text(comparison())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
