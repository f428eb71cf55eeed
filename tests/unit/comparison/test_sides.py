"""How a run is named: in a store, or by its manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.raising import raises
from tests.support.stored import golden_store

from flts.backends.store import memory_store
from flts.comparison.compare import compare
from flts.comparison.sides import ManifestFile, Side, read_side
from flts.contracts import layout
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import DatedStore
from flts.report.evidence import RunManifest, newest_first, run_manifest

CONFIG = "21c7a2fa79ba"


@pytest.fixture(scope="module")
def store() -> DatedStore:
    return golden_store("store-2.zip")


@pytest.fixture(scope="module")
def record(store: DatedStore) -> RunManifest:
    config_hash = next(row.config_hash for row in newest_first(store) if row.config_hash.startswith(CONFIG))
    return run_manifest(store, config_hash, 1)


def manifest(record: RunManifest, file: Path) -> str:
    """A file as `flts runs show --json` writes it."""
    file.write_text(json.dumps(record.model_dump(mode="json", by_alias=True), indent=2))
    return str(file)


def read(named: str, store: DatedStore) -> Side:
    """The run of that name, where any name of a store means this one."""
    opened: list[str] = []
    found = read_side(named, lambda where: opened.append(where) or store)  # type: ignore[func-returns-value]
    assert opened in ([], [named.rpartition("#")[0] or (named if "://" in named else "")])
    return found


@pytest.mark.parametrize("named", [CONFIG, f"{CONFIG}:1", f"#{CONFIG}", f"s3://bucket/runs#{CONFIG[:8]}:1"])
def test_a_run_of_a_store_is_named_by_the_start_of_its_hash(named: str, store: DatedStore, record: RunManifest) -> None:
    side = read(named, store)
    assert (side.named, side.record, side.damaged) == (named, record, [])


@pytest.mark.parametrize("named", ["s3://bucket/runs", "s3://bucket/runs#"])
def test_a_store_alone_is_its_newest_run(named: str, store: DatedStore) -> None:
    newest = newest_first(store)[0]
    found = read(named, store).record
    assert (found.config_hash, found.run) == (newest.config_hash, newest.run)


def test_a_manifest_says_what_its_store_says(tmp_path: Path, store: DatedStore, record: RunManifest) -> None:
    side = read_side(manifest(record, tmp_path / "run.json"), lambda where: pytest.fail("a store is opened"))
    assert (side.record, side.damaged) == (record, [])
    found = compare([side, read(CONFIG, store)])
    assert [artifact.name for artifact in found.artifacts if artifact.differs] == []


def test_a_part_of_a_manifest_that_is_damaged_is_named_and_the_rest_is_read(
    tmp_path: Path, record: RunManifest
) -> None:
    file = Path(manifest(record, tmp_path / "run.json"))
    whole = json.loads(file.read_text())
    whole["decision"]["outcome"] = "perhaps"
    whole["results"]["gru"]["model_hash"] = "0" * 64
    whole["spec"] = None
    file.write_text(json.dumps(whole))
    side = read_side(str(file), lambda where: memory_store())
    assert (side.record.decision, side.record.spec) == (None, None)
    assert side.record.results.keys() == record.results.keys() - {"gru"}
    assert side.record.models == record.models
    assert len(side.damaged) == 2
    assert all(str(file) in text for text in side.damaged)
    assert compare([side, side]).runs[0].damaged == list(side.damaged)


def test_a_manifest_without_results_is_read(tmp_path: Path, record: RunManifest) -> None:
    file = Path(manifest(record, tmp_path / "run.json"))
    whole = json.loads(file.read_text())
    del whole["results"]
    file.write_text(json.dumps(whole))
    side = read_side(str(file), lambda where: memory_store())
    assert (side.record.results, side.record.decision, side.damaged) == ({}, record.decision, [])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"config_hash": "a", "run": 1}', '{"config_hash": 1, "run": "1", "claim": {}}', "\x00"],
)
def test_a_file_that_is_no_manifest_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(text)
    with raises(UsageError, code="not-a-manifest", file=str(file)):
        read_side(str(file), lambda where: memory_store())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config_hash", "../abc"),
        ("config_hash", 7),
        ("run", 0),
        ("run", "1"),
        ("models", None),
        ("others", [7]),
        ("judge", "yes"),
    ],
)
def test_a_manifest_with_another_form_is_refused(
    field: str, value: object, tmp_path: Path, record: RunManifest
) -> None:
    file = Path(manifest(record, tmp_path / "run.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    with raises(UsageError, code="not-a-manifest", file=str(file)):
        read_side(str(file), lambda where: memory_store())


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with raises(UsageError, code="file-unreadable", file=str(tmp_path / "none.json")):
        read_side(str(tmp_path / "none.json"), lambda where: memory_store())


def test_a_manifest_without_a_readable_claim_is_damaged(tmp_path: Path, record: RunManifest) -> None:
    file = Path(manifest(record, tmp_path / "run.json"))
    file.write_text(file.read_text().replace('"recompute": false', '"recompute": 7'))
    with raises(DamagedObject, code="record-damaged"):
        read_side(str(file), lambda where: memory_store())


def test_a_manifest_is_only_read(tmp_path: Path, record: RunManifest) -> None:
    file = ManifestFile(Path(manifest(record, tmp_path / "run.json")))
    key = layout.spec(record.config_hash)
    assert file.exists(key)
    for write in (lambda: file.create(key, b""), lambda: file.replace(key, b""), lambda: file.erase(key)):
        with raises(UsageError, code="manifest-read-only", key=key):
            write()


@pytest.mark.parametrize(
    ("named", "code"),
    [("0000", "config-unknown"), (f"{CONFIG}:7", "run-unknown"), (f"{CONFIG}:x", "run-invalid"), ("s3://b", "no-runs")],
)
def test_a_run_that_does_not_exist_is_refused(named: str, code: str, store: DatedStore) -> None:
    with raises(UsageError, code=code):
        read(named, memory_store() if code == "no-runs" else store)


def test_other_runs_of_the_configuration_come_along(tmp_path: Path, record: RunManifest) -> None:
    mine = golden_store("store-2.zip")
    for number in (2, 3):
        claim = record.claim.model_copy(update={"run": number})
        mine.create(layout.run_part(record.config_hash, number, "claim"), claim.to_bytes())
    part = record.models["ridge"].model_copy(update={"run": 2})
    mine.create(layout.run_part(record.config_hash, 2, "train-ridge"), part.to_bytes())
    mine.create(layout.run_part(record.config_hash, 3, "train-ridge"), b"{")
    mine.create(layout.run_part(record.config_hash, 4, "judge"), b"{}")  # it has lost its claim
    side = read(f"{CONFIG}:1", mine)
    assert [(other.run, list(other.models)) for other in side.record.others] == [(2, ["ridge"]), (3, [])]
    assert side.damaged == []
    assert read(f"{CONFIG}:3", mine).damaged
    file = manifest(side.record, tmp_path / "run.json")
    assert read_side(file, lambda where: mine).record == side.record
