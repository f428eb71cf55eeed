"""`python -m tests.bench [NAME …] [--write]`: all figures, or those of some benchmarks."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterator

from flts.train.determinism import cores, made_on, processor
from tests.bench import accuracy, data, speed
from tests.bench.measure import LTE, ROOT, Figure

PAGE = ROOT / "docs" / "performance.md"
START, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "start": speed.start,
    "seed_run": speed.seed_run,
    "full_run": speed.full_run,
    "gru_epoch": speed.gru_epoch,
    "lte": accuracy.lte,
    "jfk": accuracy.jfk,
    "coverage": accuracy.coverage,
    "ten_million": data.ten_million,
}
NEEDS_LTE = {"seed_run", "full_run", "gru_epoch", "lte"}


def main() -> None:
    """Measure, print, and with --write replace the table in docs/performance.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="which; all without any")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    figures = []
    for name in given.names or BENCHMARKS:
        if name in NEEDS_LTE and not LTE.is_dir():
            print(f"{name}: skipped, the LTE measurements are not in {LTE}")
            continue
        for figure in BENCHMARKS[name]():
            figures.append(figure)
            print(f"{figure.name}: {figure.measured} (goal {figure.goal}); {figure.reference}", flush=True)
    if given.write:
        page = PAGE.read_text()
        before, _, rest = page.partition(START)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{START}\n{_table(figures)}{END}{after}")


def _table(figures: list[Figure]) -> str:
    libraries = made_on(("torch", "prophet", "statsforecast"))["libraries"]
    assert isinstance(libraries, dict)
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    lines = [
        f"Measured on {cores()} cores ({processor()}), Python {platform.python_version()}, {versions}.",
        "",
        "| what | measured | to reach | beside it | command |",
        "|---|---|---|---|---|",
        *(
            f"| {f.name} | {f.measured} | {f.goal} | {f.reference} | `python -m tests.bench {f.command}` |"
            for f in figures
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
