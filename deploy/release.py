"""Build a release of one version: wheel, chart and lists of packages in dist/, and the images; `make release` runs it.

Nothing is built unless everything fits: a clean checkout, one version in the code, the chart and CHANGELOG.md, a digest
for every image, and the programs that build. `--dry-run` checks, and shows the commands without running them. It
publishes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import images  # beside this file
import yaml
from packaging.version import Version

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


class Step(NamedTuple):
    """A part of the release: what it makes, and how."""

    makes: str
    command: list[str]


def version(root: Path = ROOT) -> str:
    """The version of the code, which is that of the wheel."""
    found = re.search(r'^__version__ = "(.+)"$', (root / "src/flts/version.py").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit('error: src/flts/version.py has no line __version__ = "…"')
    return found[1]


def as_chart(number: str) -> str:
    """A version of Python as semantic versioning writes it, for the chart: 0.1.0rc1 is 0.1.0-rc.1."""
    parsed = Version(number)
    stages = [*(parsed.pre or ()), *(("post", parsed.post) if parsed.post is not None else ())]
    stages += ("dev", parsed.dev) if parsed.dev is not None else ()
    return parsed.base_version + ("-" + ".".join(map(str, stages)) if stages else "")


def other_versions(root: Path = ROOT) -> list[str]:
    """What says another version than the code: each file, what it holds, and what would fit."""
    number = version(root)
    chart = yaml.safe_load((root / "deploy/helm/flts/Chart.yaml").read_text())
    fitting = {"version": as_chart(number), "appVersion": number}
    wrong = [
        f"Chart.yaml has {key} {chart[key]}, and the code is {number}: write {fits}"
        for key, fits in fitting.items()
        if str(chart[key]) != fits
    ]
    newest = re.search(r"^## (?!Unreleased)(\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if newest is None or newest[1] != number:
        has = f"has {newest[1]} as its newest version" if newest else "has no version"
        wrong.append(f"CHANGELOG.md {has}, and the code is {number}: give what is Unreleased the heading `## {number}`")
    return wrong


def uncommitted(root: Path = ROOT) -> list[str]:
    """What is not in the commit that a release is named after."""
    said = subprocess.check_output(["git", "status", "--porcelain"], cwd=root, text=True).splitlines()  # noqa: S607
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return [f"the checkout has uncommitted changes: {', '.join(line[3:] for line in said[:3])}{more}"] if said else []


def without_digest(lock: Path = images.LOCK) -> list[str]:
    """The images that a release cannot name exactly."""
    missing = images.unresolved(lock)
    listed = ", ".join(missing)
    how = "`python deploy/images.py --resolve` reads them from the registries, then commit images.lock"
    return [f"images.lock has no digest for {listed}: {how}"] if missing else []


@cache
def builder() -> str | None:
    """The program that builds images, where one is installed and answers."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    return None


def build_options() -> list[str]:
    """More options of the build, such as the secret pip.conf."""
    return shlex.split(os.environ.get("BUILD_OPTIONS", ""))


def helm() -> str | None:
    """Helm, in PATH or where HELM names it."""
    return shutil.which(os.environ.get("HELM", "helm"))


def absent_programs() -> list[str]:
    """What a release needs and this machine lacks."""
    wrong = [] if builder() else ["no docker (or podman) answers here, so no image can be built"]
    if not helm():
        wrong.append("no helm is installed (in PATH, or HELM), so the chart cannot be packed")
    if not os.environ.get("TORCH_INDEX") and not any("pip.conf" in option for option in build_options()):
        wrong.append("TORCH_INDEX is not set: the index of torch for a CPU (docs/containers.md)")
    return wrong


CHECKS: tuple[Callable[[], list[str]], ...] = (uncommitted, other_versions, without_digest, absent_programs)


def steps(number: str, commit: str, created: str) -> list[Step]:
    """The commands of a release, in order, run in the root of the checkout."""
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    chart = [helm() or "helm", "package", "deploy/helm/flts", "--destination", str(DIST)]

    def image(variant: str, tag: str, *more: str) -> Step:
        arguments = [f"VARIANT={variant}", f"VERSION={number}", f"REVISION={commit}", f"CREATED={created}", *more]
        options = [part for argument in arguments for part in ("--build-arg", argument)]
        # podman would leave out the health check
        program = ["podman", "build", "--format=docker"] if builder() == "podman" else ["docker", "build"]
        return Step(
            f"image {tag}", [*program, *build_options(), "-f", "deploy/Dockerfile", *options, "--tag", tag, "."]
        )

    return [
        Step(f"flts-{number}-py3-none-any.whl", [*wheel, "--wheel-dir", str(DIST), "."]),
        Step(f"flts-{as_chart(number)}.tgz", chart),
        image("all", f"flts:{number}", "TORCH_INDEX"),  # without a value, it is that of the environment
        image("serve", f"flts:{number}-serve"),
        Step("flts-*.cdx.json", [str(ROOT / ".venv-lock/bin/python"), "deploy/sbom.py"]),
    ]


def sums(folder: Path) -> str:
    """A line for each file, as sha256sum prints and checks it."""
    files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def main() -> int:
    """Check, then build. Exit codes: 0 built (or could be), 1 something does not fit or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="check, and show the commands without running them")
    dry = parser.parse_args().dry_run
    wrong = [line for check in CHECKS for line in check()]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if wrong and not dry:
        return 1
    log = ["git", "log", "-1", "--format=%H %ct %cI"]
    commit, seconds, created = subprocess.check_output(log, cwd=ROOT, text=True).split()
    if not dry:
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir()
    for step in steps(version(), commit, created):
        print(f"{step.makes}\n  {shlex.join(step.command)}", flush=True)
        if not dry:
            # the time of the commit in the wheel, so that one commit makes one file
            done = subprocess.run(step.command, cwd=ROOT, env=os.environ | {"SOURCE_DATE_EPOCH": seconds}, check=False)
            if done.returncode:
                print(f"error: {step.makes} was not made", file=sys.stderr)
                return 1
    if dry:
        print("nothing was built" + (", and nothing could be: see the errors above" if wrong else ""))
    else:
        (DIST / "SHA256SUMS").write_text(sums(DIST))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
