"""What a report may rest on besides the store: a bus, a tracker, the pods of a cluster, and log files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import UsageError
from flts.contracts.ports import Bus, Tracker


@dataclass(frozen=True)
class LogLine:
    """One event of a log file, as it was logged."""

    source: str
    """Name of the file and number of the line."""
    sha256: str
    text: str
    fields: dict[str, Any]

    @property
    def event(self) -> str:
        """What happened."""
        return str(self.fields.get("event", ""))


@dataclass(frozen=True)
class LogFile:
    """A file with an event in each line; lines of other programs are passed over."""

    name: str
    lines: Sequence[LogLine]


@dataclass(frozen=True)
class PodState:
    """One pod as Kubernetes describes it."""

    name: str
    phase: str
    ready: int
    containers: int
    restarts: int
    node: str | None
    cpu_limit: float | None
    """Cores that all its containers may use; None where one of them has no limit."""


@dataclass(frozen=True)
class Pods:
    """The pods of a cluster at one moment."""

    source: str
    sha256: str
    pods: Sequence[PodState]


@dataclass(frozen=True)
class Outside:
    """Where else to look; None and empty where there is nothing."""

    bus: Bus | None = None
    tracker: Tracker | None = None
    pods: Pods | None = None
    logs: Sequence[LogFile] = ()


def read_logs(files: Sequence[Path]) -> list[LogFile]:
    """The log files, each under a name of its own: the logs of several hosts often have one. Raises UsageError."""
    names = [file.name for file in files]
    before = [names[:place].count(name) for place, name in enumerate(names)]
    return [read_log(file, f" ({n + 1})" if n else "") for file, n in zip(files, before, strict=True)]


def read_log(file: Path, mark: str = "") -> LogFile:
    """The events of a log file. Raises UsageError for one that cannot be read or that holds no event.

    mark: follows the name of the file, where another one has the same.
    """
    name, lines = f"{file.name}{mark}", []
    for number, text in enumerate(_read(file, "--log").decode(errors="replace").splitlines(), 1):
        try:
            fields = _plain(text) if text.startswith("{") else None
        except ValueError:
            fields = None
        if isinstance(fields, dict) and "event" in fields:
            lines.append(LogLine(f"{name}:{number}", sha256(text.encode()), text, fields))
    if not lines:
        raise UsageError(
            f"{file} holds no event of FLTS: each line must be a JSON object, as with FLTS_LOG_FORMAT=json",
            code="log-empty",
            file=str(file),
        )
    return LogFile(name, lines)


def read_pods(file: Path) -> Pods:
    """The pods in the output of `kubectl get pods -o json`. Raises UsageError for another file."""
    data = _read(file, "--pods")
    try:
        text = data.decode(json.detect_encoding(data))  # a shell may write UTF-16, or a mark before UTF-8
        pods = [_pod(item) for item in _plain(text.removeprefix("\ufeff"))["items"]]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UsageError(
            f"{file} is not the output of `kubectl get pods -o json`", code="pods-unreadable", file=str(file)
        ) from None
    return Pods(file.name, sha256(data), sorted(pods, key=lambda pod: pod.name))


def _plain(text: str) -> Any:
    """The JSON value of a text that somebody else wrote. Raises ValueError for one that a report cannot hold."""
    found = from_json(text, allow_inf_nan=False)  # also for nesting that is too deep
    canonical_json(found)  # also for a number that is too large
    return found


def _read(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{option} {file} cannot be read: {error.strerror or error}", code="file-unreadable", file=str(file)
        ) from None


def _pod(item: dict[str, Any]) -> PodState:
    statuses = item["status"].get("containerStatuses", [])
    limits = [_cores(c.get("resources", {}).get("limits", {}).get("cpu")) for c in item["spec"]["containers"]]
    known = [limit for limit in limits if limit is not None]
    return PodState(
        name=str(item["metadata"]["name"]),
        phase=str(item["status"]["phase"]),
        ready=sum(bool(status["ready"]) for status in statuses),
        containers=len(item["spec"]["containers"]),
        restarts=sum(_count(status["restartCount"]) for status in statuses),
        node=None if (node := item["spec"].get("nodeName")) is None else str(node),
        cpu_limit=sum(known) if known and len(known) == len(limits) else None,
    )


def _count(found: Any) -> int:
    if type(found) is not int or found < 0:
        raise ValueError(f"{found} is no number of restarts")
    return found


def _cores(quantity: Any) -> float | None:
    """A quantity of Kubernetes in cores: `500m` is half a core. None where there is no limit."""
    if quantity is None:
        return None
    text = str(quantity)
    cores = float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    if not (isfinite(cores) and cores >= 0):
        raise ValueError(f"{text} is no number of cores")
    return cores
