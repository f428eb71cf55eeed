"""`python -m tests.bench.loaded`: an experiment, its forecast service on this machine, and Locust's load on it.

Writes the report of Locust, a page of HTML. `make load` installs Locust in an environment of its own and calls this.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import flts
from flts.settings import load_settings
from flts.spec.sources import load_spec
from tests.bench.measure import fresh_folder
from tests.support import ROOT
from tests.support.gateways import running

EXAMPLE = ROOT / "examples/jfk-departures/flts.toml"


def main() -> int:
    """Run it; the exit code is that of Locust, 1 where a request failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loaded")
    parser.add_argument("--locust", default="locust", help="the program")
    parser.add_argument("--experiment", type=Path, default=EXAMPLE, help="flts.toml, with the test rows to send")
    parser.add_argument("--scenario", default="steady")
    parser.add_argument("--rate", default="20")
    parser.add_argument("--seconds", default="30")
    parser.add_argument("--html", type=Path, default=Path("load.html"))
    chosen = parser.parse_args()
    loaded = load_spec(chosen.experiment, environ={})
    # the quickest model stands for all of them: what is measured is the service
    spec = loaded.spec.model_copy(update={"models": type(loaded.spec.models).model_validate({"ridge": {}})})
    rows = loaded.folder / spec.dataset.source / f"{spec.dataset.name}_test.csv"
    with fresh_folder() as folder:
        flts.run(spec, folder=loaded.folder, settings=load_settings(home=folder / ".flts", tracking="off"))
        with running(folder, "--probe-port", "0", command="serve", stdout=subprocess.DEVNULL) as server:
            done = subprocess.run(
                [
                    *(
                        chosen.locust,
                        "--locustfile",
                        str(ROOT / "deploy/locustfile.py"),
                        "--headless",
                        "--only-summary",
                    ),
                    *("--host", server.address, "--rows", str(rows), "--history", str(spec.task.input_length)),
                    *("--scope", spec.dataset.scope, "--token-file", "", "--html", str(chosen.html)),
                    *("--scenario", chosen.scenario, "--rate", chosen.rate, "--seconds", chosen.seconds),
                ],
                check=False,
            )
    print(f"{chosen.html}: written")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
