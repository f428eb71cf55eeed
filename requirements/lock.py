"""Write the locks: what `make demo`, `make test` and the images install, each package with its version and digests.

all.txt holds what the extra `all` needs and what builds FLTS; dev.txt and mlflow-server.txt hold what those extras add
to it; serve.txt holds what the small image of the forecast service needs, and what builds FLTS. All are for every
supported Python and system. Run by `make lock`, which installs uv.

torch is in neither, because its builds for a CPU have other digests than those of the public index: constraints.txt
pins it. What only torch needs (CUDA) is left out too; torch names it itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent / "pyproject.toml"
SERVE = ("kafka", "onnx", "serve")
"""The extras of serve.txt: GRU and LSTM answer without torch."""
EDITABLE = "editables"
"""What hatchling needs beside itself for `pip install -e`."""
TORCH = re.compile(r"(torch|triton|nvidia-.+|cuda-.+)")


def main() -> None:
    """Resolve `dev`, then the others within its versions, so that all can be installed together."""
    everything = packages(("dev",), "constraints.txt")
    within = FOLDER / "within.txt"
    try:
        within.write_text("".join(everything.values()))
        needed, server, serve = (
            packages(extras, "constraints.txt", str(within)) for extras in (("all",), ("mlflow-server",), SERVE)
        )
    finally:
        within.unlink(missing_ok=True)
    _write("all.txt", "What the extra `all` needs", needed)
    _write("dev.txt", "What the extra `dev` adds", _added(everything, needed))
    _write("mlflow-server.txt", "What the extra `mlflow-server` adds", _added(server, needed))
    _write("serve.txt", f"What the extras {', '.join(f'`{name}`' for name in SERVE)} need", serve)


def _added(found: dict[str, str], needed: dict[str, str]) -> dict[str, str]:
    return {name: lines for name, lines in found.items() if needed.get(name) != lines}


def _write(file: str, what: str, found: dict[str, str]) -> None:
    (FOLDER / file).write_text(f"# {what}; `make lock` writes this file.\n" + "".join(found.values()))


def packages(extras: Sequence[str], *constraints: str) -> dict[str, str]:
    """The lines of each package that these extras need, by name."""
    limits = [part for file in constraints for part in ("--constraint", file)]
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-annotate", "--no-header", "--only-binary", ":all:", *limits]
    command += [*(part for extra in extras for part in ("--extra", extra)), PROJECT.name, "-"]
    build = tomllib.loads(PROJECT.read_text())["build-system"]["requires"]
    written = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=PROJECT.parent,
        env=os.environ | index(),
        input="\n".join([*build, EDITABLE]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    blocks = re.findall(r"^([a-z0-9][a-z0-9-]*)(.*(?:\n +.*)*\n)", written, re.MULTILINE)
    found: dict[str, str] = {}
    for name, rest in blocks:  # one that has a version for each of several Pythons comes several times
        if not TORCH.fullmatch(name):
            found[name] = found.get(name, "") + name + rest
    return found


def index() -> dict[str, str]:
    """pip's own index, where one is configured, for uv's environment: no file and no command line names it."""
    said = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    found = re.search(r"^(?:global|install|:env:)\.index-url='(.*)'$", said, re.MULTILINE)
    return {"UV_DEFAULT_INDEX": found[1]} if found else {}


if __name__ == "__main__":
    main()
