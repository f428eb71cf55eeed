"""Reads the runs that a comparison names: from stores, and from manifests that `flts runs show --json` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flts.contracts import layout, runs
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.base import parse_object
from flts.report.evidence import RunParts, RunRecord, newest_first, resolve, run_parts, run_record

OpenStore = Callable[[str], Store]
"""The store behind a URL or a folder; the current one for an empty name."""
LOOKED_AT = 100
"""Runs of a configuration at most, the newest ones, whose durations are read."""
HOW = "name a run as CONFIG[:RUN], as STORE#CONFIG[:RUN], or by a file of `flts runs show CONFIG --json`"


@dataclass(frozen=True)
class Side:
    """One run with the other runs of its configuration."""

    named: str
    record: RunRecord
    others: Sequence[RunParts]
    """Other runs of this configuration in its store; none for a manifest, which holds one run."""
    damaged: Sequence[str] = ()
    """What could not be read."""


def read_side(named: str, open_store: OpenStore) -> Side:
    """The run that a person names.

    CONFIG[:RUN], STORE#CONFIG[:RUN], STORE or STORE# for its newest run, or a manifest. CONFIG is the start of a
    config_hash, RUN a number, the newest without it. Raises UsageError, DamagedObject for a run whose claim cannot be
    read, and what `open_store` raises.
    """
    where, mark, run = named.rpartition("#")
    if not mark and ("://" in named or Path(named).is_dir()):
        where, run = named, ""
    elif not mark and (named.endswith(".json") or Path(named).is_file()):
        return _of_manifest(named)
    store = open_store(where)
    config, _, number = run.partition(":")
    if number and not number.isdecimal():
        raise UsageError(f"{named}: '{number}' is no number of a run; {HOW}", code="run-invalid", found=number)
    if not run and where:
        newest = next(iter(newest_first(store)), None)
        if newest is None:
            raise UsageError(f"{store.url} has no runs yet", code="no-runs", store=store.url)
        return _of_store(named, store, newest.config_hash, newest.run)
    config_hash = resolve(store, config)
    return _of_store(named, store, config_hash, int(number or max(runs.numbers(store, config_hash), default=1)))


def _of_store(named: str, store: Store, config_hash: str, run: int) -> Side:
    damaged: list[DamagedObject] = []
    record = run_record(store, config_hash, run, damaged=damaged)
    others = []
    for number in runs.numbers(store, config_hash)[-LOOKED_AT:]:
        if number != run:
            try:
                others.append(run_parts(store, config_hash, number, damaged=[]))
            except DamagedObject:  # without its claim it is not known where the run was
                continue
    return Side(named, record, others, [str(error) for error in damaged])


def _of_manifest(named: str) -> Side:
    manifest = ManifestFile(Path(named))
    damaged: list[DamagedObject] = []
    record = run_record(manifest, manifest.config_hash, manifest.run, damaged=damaged)
    return Side(named, record, (), [str(error) for error in damaged])


class ManifestFile:
    """The parts in a manifest under the keys that they have in a store, so that one reader reads both."""

    def __init__(self, file: Path) -> None:
        """Raises UsageError for a file that is no manifest."""
        self.url = str(file)
        try:
            manifest = parse_object(file.read_bytes(), self.url)
            self.config_hash, self.run = str(manifest["config_hash"]), _whole(manifest["run"])
            objects = dict(_objects(manifest, self.config_hash, self.run))
        except OSError as error:
            raise UsageError(
                f"{file}: cannot be read: {error.strerror}; {HOW}", code="file-unreadable", file=self.url
            ) from None
        except (DamagedObject, LookupError, TypeError, ValueError, AttributeError):
            raise UsageError(
                f"{file}: is no manifest; write one with `flts runs show CONFIG --json > {file.name}`",
                code="not-a-manifest",
                file=self.url,
            ) from None
        self._objects: Mapping[str, bytes] = {key: canonical_json(part) for key, part in objects.items() if part}

    def get(self, key: str) -> bytes | None:
        return self._objects.get(key)

    def exists(self, key: str) -> bool:
        return key in self._objects

    def list(self, prefix: str) -> Sequence[str]:
        return sorted(key for key in self._objects if key.startswith(prefix))

    def create(self, key: str, data: bytes) -> bool:
        self._refuse(key)

    def replace(self, key: str, data: bytes) -> None:
        self._refuse(key)

    def erase(self, key: str) -> None:
        self._refuse(key)

    def _refuse(self, key: str) -> NoReturn:
        raise UsageError(f"{self.url}: a manifest is only read", code="manifest-read-only", key=key)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError
    return value


def _objects(manifest: Mapping[str, Any], config_hash: str, run: int) -> list[tuple[str, Any]]:
    """Key and content of every part. Raises LookupError, TypeError or AttributeError for another document."""
    claim, judge = manifest["claim"], manifest["judge"]
    trained, results = manifest["models"], manifest.get("results", {})  # a manifest of an older flts has no results
    found = [
        (layout.spec(config_hash), manifest["spec"]),
        (layout.meta(claim["data_hash"]), manifest["data"]),
        *((layout.run_part(config_hash, run, name), manifest[name]) for name in ("claim", "preprocess", "judge")),
        *((layout.run_part(config_hash, run, f"train-{name}"), part) for name, part in trained.items()),
        *((layout.failure(config_hash, run, name), part) for name, part in manifest["failures"].items()),
        *((layout.model_result(trained[name]["model_hash"]), part) for name, part in results.items()),
    ]
    if judge:
        found.append((layout.decision(claim["scope"], judge["decision_id"]), manifest["decision"]))
    return found
