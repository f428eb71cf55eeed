"""The chart as Helm renders it. Helm is a program of its own: HELM names it, or it is found in PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

CHART = ROOT / "deploy/helm/flts"
TEMPLATES = tuple(sorted(file for file in (CHART / "templates").rglob("*") if file.is_file()))
VALUES = tuple(sorted(file.name for file in CHART.glob("values*.yaml")))
"""Every file of values that the chart has."""
RUN = ("--set", "preprocess.datasetName=load", "--set", "spec.dataset.targets={load}")
"""With these a run can start, so that its job is rendered."""
API = ("--set", "networkPolicy.enabled=true", "--set", "networkPolicy.apiServer.cidrs={10.0.0.1/32}")
"""Network policies, of which the job for Secrets needs the address of the API server."""
SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
"""What changes the number of replicas of a Deployment: Kubernetes, and KEDA."""

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Helm:
    """The program, and the chart."""

    program: str

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it; the caller looks at the exit code."""
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False, cwd=CHART)

    def text(self, *arguments: str) -> str:
        """The chart, rendered with these arguments."""
        done = self.call("template", "flts", ".", "--namespace", "forecasts", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def render(self, *arguments: str) -> list[Manifest]:
        """Its objects."""
        return [found for found in yaml.safe_load_all(self.text(*arguments)) if found]

    def refused(self, *arguments: str) -> str:
        """The message with which rendering fails."""
        done = self.call("template", "flts", ".", *arguments)
        assert done.returncode != 0, "it was rendered"
        return done.stderr


def found() -> Helm:
    """Helm, or the test is skipped."""
    program = os.environ.get("HELM") or shutil.which("helm")
    if program is None:
        pytest.skip("helm is neither in PATH nor named by HELM")
    return Helm(program)


def named(objects: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """The one object of this kind whose name is, or starts with, `name`."""
    names = [one["metadata"]["name"] for one in objects if one["kind"] == kind]
    [match] = [n for n in names if n == name] or [n for n in names if n.startswith(f"{name}-")]
    return next(one for one in objects if one["kind"] == kind and one["metadata"]["name"] == match)


def kinds(objects: Sequence[Manifest]) -> set[tuple[str, str]]:
    """Kind and component of every object."""
    return {(one["kind"], one["metadata"]["labels"]["app.kubernetes.io/component"]) for one in objects}


def pods(objects: Sequence[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Every object that makes pods, and its pod template."""
    for one in objects:
        match one["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                yield one, one["spec"]["template"]
            case "CronJob":
                yield one, one["spec"]["jobTemplate"]["spec"]["template"]
            case "Pod":
                yield one, one


def containers(template: Manifest) -> list[Manifest]:
    """Every container of a pod template."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def environment(container: Manifest) -> dict[str, str | None]:
    """The variables of a container; None for one that is read from elsewhere."""
    return {one["name"]: one.get("value") for one in container["env"]}


def written(folder: Path, values: Mapping[str, Any]) -> Path:
    """A file with these values."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    return file
