"""Every stored JSON object is parsed in one place: it is a known record, or the error says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field
from tests.golden import store as golden
from tests.support.raising import raises

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.errors import DamagedObject
from flts.contracts.records import base
from flts.contracts.records.base import (
    JsonObject,
    Part,
    StoredRecord,
    Time,
    Upgrade,
    parse_record,
    plain_json,
    read_record,
    require_record,
    version_of,
    write_record,
)
from flts.contracts.records.data import MadeOf
from flts.contracts.records.model import SelfTest, WindowsResult

KEY = layout.windows_result("a" * 64, "b" * 64)
WHOLE = WindowsResult(model_hash="a" * 64, windows_hash="b" * 64, forecasts_sha256="c" * 64, windows=3)
RECORDS = [record for archive in golden.WRITTEN_WITH for record in golden.records(archive)]


class Inner(Part):
    """A part of a record."""

    size: float


class Third(StoredRecord):
    """A record in its third version: `rows` was called `count`, and before that it was a string."""

    upgrades: ClassVar[Mapping[int, Upgrade]] = {
        1: lambda old: {**old, "count": int(str(old["count"]))},
        2: lambda old: {**{k: v for k, v in old.items() if k != "count"}, "rows": old["count"]},
    }

    v: Literal[3] = 3
    rows: int
    parts: list[Inner] = Field(default_factory=list)


class Second(StoredRecord):
    """A record whose first version is no longer read."""

    v: Literal[2] = 2
    rows: int


def refusal(data: bytes, kind: type[StoredRecord] = WindowsResult, code: str = "record-damaged") -> DamagedObject:
    """The error about these bytes under a key; the same bytes elsewhere give the same message without advice."""
    store = memory_store()
    store.create(KEY, data)
    with raises(DamagedObject, code=code, key=KEY) as raised:
        read_record(store, KEY, kind)
    with raises(DamagedObject, code=code, key=None) as elsewhere:
        parse_record(kind, data, f"{KEY} in memory:///")
    assert str(raised.value).startswith(str(elsewhere.value))
    return raised.value


def changed(**fields: Any) -> bytes:
    """The bytes of a whole record with other fields."""
    return json.dumps({**json.loads(WHOLE.to_bytes()), **fields}).encode()


@pytest.mark.parametrize(
    "old",
    [
        {"v": 1, "count": "7", "parts": [{"size": 1.5}]},
        {"v": 2, "count": 7, "parts": [{"size": 1.5}]},
        {"v": 3, "rows": 7, "parts": [{"size": 1.5}]},
    ],
)
def test_an_older_record_is_upgraded_one_version_at_a_time(old: dict[str, Any]) -> None:
    record = parse_record(Third, json.dumps(old).encode(), "x")
    assert record == Third(rows=7, parts=[Inner(size=1.5)])
    assert json.loads(record.to_bytes())["v"] == 3


def test_a_stored_record_of_an_older_version_is_left_unchanged_and_read_as_the_new_one() -> None:
    store = memory_store()
    store.create(KEY, b'{"v":1,"count":"7"}')
    assert write_record(store, KEY, Third(rows=9), at="x") == Third(rows=7)
    assert store.get(KEY) == b'{"v":1,"count":"7"}'


@pytest.mark.parametrize("data", [b'{"v":1,"count":"7","more":1}', b'{"v":2,"count":"7"}', b'{"v":2,"count":null}'])
def test_an_older_record_that_does_not_fit_after_its_upgrades_is_damaged(data: bytes) -> None:
    refusal(data, Third)


@pytest.mark.parametrize("data", [b'{"v":1}', b'{"v":1,"count":"many"}', b'{"v":2}', b'{"v":1,"count":[]}'])
def test_an_older_record_that_its_upgrade_cannot_read_is_damaged(data: bytes) -> None:
    assert refusal(data, Third).data["fields"] == ()


def test_a_version_that_is_no_longer_read_is_an_error_that_names_the_oldest_one() -> None:
    error = refusal(b'{"v":1,"rows":3}', Second, code="record-older")
    assert (error.data["version"], error.data["reads"]) == (1, 2)
    assert "delete" not in str(error)


@pytest.mark.parametrize(
    ("data", "writer"),
    [
        (b'{"v":4,"flts":"7.1.0"}', "flts 7.1.0"),
        (b'{"v":4}', "a newer flts"),
        (b'{"v":4,"flts":5}', "a newer flts"),
        (b'{"v":9000000000000000000}', "a newer flts"),
    ],
)
def test_a_newer_record_is_an_error_that_names_its_writer_and_is_not_called_damaged(data: bytes, writer: str) -> None:
    error = refusal(data, Third, code="record-newer")
    assert (error.data["version"], error.data["reads"]) == (json.loads(data)["v"], 3)
    assert f"was written by {writer} in version" in str(error)
    assert "damaged" not in str(error)
    assert "delete" not in str(error)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (WHOLE.to_bytes()[:-1], "not JSON"),
        (WHOLE.to_bytes()[: len(WHOLE.to_bytes()) // 2], "not JSON"),
        (WHOLE.to_bytes() + b"}", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"null", "expected a JSON object, found null"),
        (b"true", "expected a JSON object, found a boolean"),
        (b"[]", "expected a JSON object, found a list"),
        (b'"text"', "expected a JSON object, found a string"),
        (b"1e3", "expected a JSON object, found a number"),
        (b"9" * 5000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not JSON"),
        (b"{}", "v: expected a version number, found None"),
        (changed(v="1"), "v: expected a version number, found '1'"),
        (changed(v=True), "v: expected a version number, found True"),
        (changed(v=1.0), "v: expected a version number, found 1.0"),
        (changed(v=0), "v: expected a version number, found 0"),
        (changed(v=-1), "v: expected a version number, found -1"),
        (changed(v=[[]] * 1000), "v: expected a version number, found [[]"),
        (changed(windows=float("nan")), "not JSON"),
        (changed(windows=float("-inf")), "not JSON"),
        (changed(windows="3"), "windows: Input should be a valid integer"),
        (changed(windows=3.0), "windows: Input should be a valid integer"),
        (changed(windows=True), "windows: Input should be a valid integer"),
        (changed(windows=-1), "windows: Input should be greater than or equal to 0"),
        (changed(windows=None), "windows: Input should be a valid integer"),
        (changed(model_hash="A" * 64), "model_hash: String should match pattern"),
        (changed(model_hash="a" * 64 + "\n"), "model_hash: String should match pattern"),
        (changed(more=1), "more: Extra inputs are not permitted"),
        (
            b'{"v":1}',
            "model_hash: Field required; windows_hash: Field required; forecasts_sha256: Field required and 1",
        ),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_the_message_about_a_damaged_record_names_the_key_the_field_and_what_to_do(data: bytes, why: str) -> None:
    message = str(refusal(data))
    assert message.startswith(f"{KEY} in memory:/// is damaged: {why}")
    assert message.endswith(f"; {layout.mend(KEY)}")
    assert len(message) < 1000


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_a_record_with_a_number_that_is_not_finite_is_damaged(number: bytes) -> None:
    refusal(b'{"v":3,"rows":1,"parts":[{"size":' + number + b"}]}", Third)


def test_a_whole_number_of_any_length_is_read_or_refused_in_one_line() -> None:
    assert len(str(refusal(b'{"v":3,"rows":' + b"9" * 100_000 + b"}", Third))) < 1000


def test_the_path_to_a_field_inside_a_list_is_named() -> None:
    error = refusal(b'{"v":3,"rows":1,"parts":[{"size":1},{"size":"2"}]}', Third)
    assert error.data["fields"] == ("parts.1.size",)


def test_a_record_that_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_BYTES", len(WHOLE.to_bytes()))
    assert parse_record(WindowsResult, WHOLE.to_bytes(), KEY) == WHOLE
    monkeypatch.setattr(base, "MOST_BYTES", len(WHOLE.to_bytes()) - 1)
    assert f"it has {len(WHOLE.to_bytes())} bytes, and at most" in str(refusal(WHOLE.to_bytes()))


def test_an_absent_record_is_none_and_an_error_only_where_another_one_names_it() -> None:
    store = memory_store()
    assert read_record(store, KEY, WindowsResult) is None
    with raises(DamagedObject, code="object-missing", key=KEY):
        require_record(store, KEY, WindowsResult)
    store.create(KEY, WHOLE.to_bytes())
    assert require_record(store, KEY, WindowsResult) == WHOLE


def test_the_record_of_the_first_of_two_writers_is_kept() -> None:
    store = memory_store()
    other = WHOLE.model_copy(update={"windows": 4})
    assert write_record(store, KEY, WHOLE, at="x") == WHOLE
    assert write_record(store, KEY, other, at="x") == WHOLE
    assert store.get(KEY) == WHOLE.to_bytes()


@pytest.mark.parametrize(("key", "kind", "data"), RECORDS, ids=[key for key, _, _ in RECORDS])
def test_a_golden_record_is_read_and_written_in_the_same_bytes(key: str, kind: type[StoredRecord], data: bytes) -> None:
    record = parse_record(kind, data, key)
    if json.loads(data)["v"] == version_of(kind):
        assert record.to_bytes() == data
    else:  # through its upgrades, it is a record of this version
        assert parse_record(kind, record.to_bytes(), key) == record


@pytest.mark.parametrize("kind", list(golden.KINDS.values()))
def test_every_field_of_every_golden_record_is_strict(kind: type[StoredRecord]) -> None:
    data = next(data for _, other, data in RECORDS if other is kind)
    whole = json.loads(parse_record(kind, data, "x").to_bytes())
    assert version_of(kind) == whole["v"]
    for field in whole:
        wrong = {**whole, field: [["wrong"]]}
        with raises(DamagedObject, code="record-damaged") as caught:
            parse_record(kind, json.dumps(wrong).encode(), "x")
        fields = caught.value.data["fields"]
        assert isinstance(fields, tuple)
        assert all(name.split(".")[0] == field for name in fields)
    with raises(DamagedObject, code="record-damaged", fields=("unknown",)):
        parse_record(kind, json.dumps({**whole, "unknown": 1}).encode(), "x")


def test_plain_json_is_the_value_that_will_be_read_back() -> None:
    plain: JsonObject = plain_json({"a": (1, 2.0), "b": -0.0, "c": {"d": None}})
    assert plain == {"a": [1, 2.0], "b": 0.0, "c": {"d": None}}
    assert str(plain["b"]) == "0.0"
    with pytest.raises(ValueError, match="not JSON compliant"):
        plain_json({"a": float("nan")})


def test_all_fields_of_a_data_hash_are_kept() -> None:
    made_of: dict[str, Any] = {"time_column": "when", "version": 1, "sample": {"seed": 1}, "later": [1]}
    assert MadeOf.model_validate(made_of).model_dump(mode="json") == made_of


def test_every_float_is_read_back_bit_for_bit() -> None:
    """Both parsers that a record goes through round as Python does, or hashes of what was read back would move."""
    bits = np.random.default_rng(0).integers(0, 2**63 - 1, 20_000, dtype=np.int64).view(np.float64)
    extremes = [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e22, 1e23, -1.0]
    values = [*bits[np.isfinite(bits)].tolist(), *extremes]
    vector = SelfTest(times=[], values=[], mean=[values])
    assert SelfTest.model_validate_json(json.dumps(vector.model_dump())).mean == [values]
    assert plain_json({"values": values})["values"] == values


def test_a_record_under_the_key_of_another_one_is_refused_with_the_field_that_says_so() -> None:
    told: set[str] = set()
    for key, kind, data in RECORDS:
        for field, value in layout.identity(key).items():
            if field not in kind.model_fields:
                continue
            other = value + 1 if isinstance(value, int) else "0" * len(value)
            store = memory_store()
            store.create(key, json.dumps({**json.loads(data), field: other}).encode())
            with raises(DamagedObject, code="record-misplaced", key=key, fields=(field,)):
                read_record(store, key, kind)
            told.add(field)
    hashes = {"data_hash", "decision_id", "input_hash", "model_hash", "windows_hash"}
    assert told == {*hashes, "judge_sha256", "model", "number", "request_id", "run", "scope"}


@pytest.mark.parametrize(
    ("key", "named"),
    [
        (layout.latency("m"), {"model_hash": "m"}),
        (layout.log_entry("north", 12), {"scope": "north", "number": 12}),
        (layout.decision("north", "d"), {"scope": "north", "decision_id": "d"}),
        (layout.config_pointer("north", "c"), {"scope": "north", "config_hash": "c"}),
        (layout.scope_pointer("north"), {"scope": "north"}),
        (layout.root_pointer(), {}),
        (layout.preview("north", "d"), {}),
        (layout.spec("c"), {}),
    ],
)
def test_a_key_repeats_fields_of_its_record(key: str, named: dict[str, str | int]) -> None:
    assert layout.identity(key) == named


class Timed(StoredRecord):
    """A record that says when."""

    v: Literal[1] = 1
    at: Time


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05.000001-11:30", "2026-01-02T03:04:05Z"]
)
def test_a_time_is_kept_as_it_is_written(text: str) -> None:
    assert Timed(at=text).at == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "now",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-02-30T00:00:00Z",
            "1767322800",
            "2026-01-02T03:04:05+25:00",
        ),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_a_time_that_no_clock_writes_is_a_damaged_record(text: str) -> None:
    """A reader compares it with its own clock, and would end with an error that names no object."""
    with raises(DamagedObject, code="record-damaged", fields=("at",)):
        parse_record(Timed, json.dumps({"v": 1, "at": text}).encode(), "x")
