"""Make the figures of this folder again: `python examples/seed-report/make_report.py FOLDER-OF-THE-DATA`.

Runs both experiments several times, each in a store of its own, then writes the manifest of each, its report by
`flts verify`, and their comparison. The files hold figures, statistics and digests, no rows.
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
from flts.verification.write.markdown import to_markdown
from flts.wiring import existing_store

HERE = Path(__file__).parent
ENVIRONMENTS = ("docker", "kubernetes")
RUNS = 5


def run(
    environment: str, data: Path, home: Path, *, models: Sequence[str] | None = None, recompute: bool = False
) -> RunManifest:
    """Run an experiment, and return the manifest of its first run."""
    settings = load_settings(home=home, tracking="off", environment=environment)
    spec = flts.load_spec(HERE / f"{environment}.toml", source=str(data), models=models).spec
    result = flts.run(spec, settings=settings, recompute=recompute)
    return run_manifest(existing_store(settings), result.config_hash, 1)


def comparison() -> str:
    """The page that compares the two manifests of this folder."""
    with contextlib.chdir(HERE):
        return words.markdown(flts.compare(*(f"{name}.json" for name in ENVIRONMENTS)))


def main(data: Path) -> None:
    """Write the manifests, the reports and the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(RUNS):  # in turns, so that both meet the same load of the machine
            made = {name: run(name, data, Path(folder) / name, recompute=number > 0) for name in ENVIRONMENTS}
        for name, record in made.items():
            settings = load_settings(home=Path(folder) / name, tracking="off", environment=name)
            report = flts.verify(record.config_hash, run=record.run, settings=settings)
            (HERE / f"{name}-report.md").write_text(to_markdown(report))
    for name, record in made.items():
        plain = record.model_dump(mode="json", by_alias=True)
        text = json.dumps(plain, indent=2, sort_keys=True, allow_nan=False)
        (HERE / f"{name}.json").write_text(f"{text}\n")
    (HERE / "comparison.md").write_text(comparison())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
