"""Reads the runs that a comparison names: from stores, and from manifests that `flts runs show --json` wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flts.contracts import layout, runs
from flts.contracts.canonical import canonical_json, is_digest
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.listing import Listed
from flts.contracts.ports import DatedStore, Store
from flts.contracts.records.base import parse_object
from flts.report.evidence import RunManifest, newest_first, resolve, run_manifest

OpenStore = Callable[[str], DatedStore]
"""The store behind a URL or a folder; the current one for an empty name."""
HOW = "name a run as CONFIG[:RUN], as STORE#CONFIG[:RUN], or by a file of `flts runs show CONFIG --json`"


@dataclass(frozen=True)
class Side:
    """One of the runs that are compared."""

    named: str
    record: RunManifest
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
        manifest = ManifestFile(Path(named))
        return _side(named, manifest, manifest.config_hash, manifest.run)
    store = open_store(where)
    config, _, number = run.partition(":")
    if number and not number.isdecimal():
        raise UsageError(f"{named}: '{number}' is no number of a run; {HOW}", code="run-invalid", found=number)
    if not run and where:
        newest = next(iter(newest_first(store, 1)), None)
        if newest is None:
            raise UsageError(f"{store.url} has no runs yet", code="no-runs", store=store.url)
        return _side(named, store, newest.config_hash, newest.run)
    config_hash = resolve(store, config)
    return _side(named, store, config_hash, int(number or runs.highest(store, config_hash) or 1))


def _side(named: str, store: Store, config_hash: str, run: int) -> Side:
    damaged: list[DamagedObject] = []
    record = run_manifest(store, config_hash, run, damaged=damaged)
    return Side(named, record, [str(error) for error in damaged])


class ManifestFile(Listed):
    """The parts in a manifest under the keys that they have in a store, so that one reader reads both."""

    def __init__(self, file: Path) -> None:
        """Raises UsageError for a file that is no manifest."""
        self.url = str(file)
        try:
            manifest = parse_object(file.read_bytes(), self.url)
            self.config_hash, self.run = _digest(manifest["config_hash"]), _whole(manifest["run"])
            objects = dict(_objects(manifest, self.config_hash))
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
        self._objects: Mapping[str, bytes] = {
            key: canonical_json(part) for key, part in objects.items() if part is not None
        }

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


def _digest(value: Any) -> str:
    if not is_digest(value):
        raise ValueError
    return str(value)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError
    return value


def _objects(manifest: Mapping[str, Any], config_hash: str) -> Iterator[tuple[str, Any]]:
    """Key and content of every part. Raises LookupError, TypeError or AttributeError for another document."""
    claim, judge, models = manifest["claim"], manifest["judge"], manifest["models"]
    yield layout.spec(config_hash), manifest["spec"]
    yield layout.meta(claim["data_hash"]), manifest["data"]
    for run in (manifest, *manifest.get("others", ())):  # an older flts wrote neither others nor results
        yield from _parts(run, config_hash, _whole(run["run"]))
    for name, result in manifest.get("results", {}).items():
        yield layout.model_result(models[name]["model_hash"]), result
    if judge:
        yield layout.decision(claim["scope"], judge["decision_id"]), manifest["decision"]


def _parts(run: Mapping[str, Any], config_hash: str, number: int) -> Iterator[tuple[str, Any]]:
    for name in ("claim", "preprocess", "judge"):
        yield layout.run_part(config_hash, number, name), run[name]
    for name, part in run["models"].items():
        yield layout.run_part(config_hash, number, f"train-{name}"), part
    for name, part in run["failures"].items():
        yield layout.failure(config_hash, number, name), part
    for part in run.get("sent", ()):
        yield layout.sent(config_hash, number, part["event_id"]), part
