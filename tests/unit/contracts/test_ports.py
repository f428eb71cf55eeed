"""The four ways a stage touches a store: written once, pointed at, read only when the digest fits."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator

import pytest

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.failpoints import arm
from flts.contracts.ports import Silent, Store, point_at, read_checked, read_json, write_json_once, write_once

KEY = "bucket/object"


@pytest.fixture
def store() -> Store:
    return memory_store()


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


class Forgetful:
    """A store that says an object exists and has lost it."""

    url = "memory:///"

    def get(self, key: str) -> bytes | None:
        return None

    def create(self, key: str, data: bytes) -> bool:
        return False

    def replace(self, key: str, data: bytes) -> None:
        raise NotImplementedError

    def exists(self, key: str) -> bool:
        return True

    def list(self, prefix: str) -> list[str]:
        return []


def test_write_once_stores_the_bytes_and_returns_them(store: Store) -> None:
    assert write_once(store, KEY, b"first", at="here") == b"first"
    assert store.get(KEY) == b"first"


def test_write_once_returns_the_bytes_of_whoever_was_first_and_leaves_them(store: Store) -> None:
    write_once(store, KEY, b"first", at="here")
    assert write_once(store, KEY, b"second", at="here") == b"first"
    assert store.get(KEY) == b"first"


def test_write_once_refuses_an_object_that_exists_and_is_absent() -> None:
    with pytest.raises(DamagedObject, match=f"{KEY} was refused as existing, and is absent"):
        write_once(Forgetful(), KEY, b"first", at="here")


def test_write_json_once_writes_canonically_and_returns_the_value_that_stands(store: Store) -> None:
    assert write_json_once(store, KEY, {"b": 1, "a": [0.5, None]}, at="here") == {"a": [0.5, None], "b": 1}
    assert store.get(KEY) == b'{"a":[0.5,null],"b":1}'
    assert write_json_once(store, KEY, {"other": 1}, at="here") == {"a": [0.5, None], "b": 1}


def test_a_pointer_moves(store: Store) -> None:
    point_at(store, KEY, b"one", at="here")
    point_at(store, KEY, b"two", at="here")
    assert store.get(KEY) == b"two"


def write(store: Store) -> None:
    write_once(store, KEY, b"data", at="here")


def point(store: Store) -> None:
    point_at(store, KEY, b"data", at="here")


@pytest.mark.parametrize("action", [write, point])
@pytest.mark.parametrize(("side", "left"), [("before", None), ("after", b"data")])
def test_a_crash_beside_a_write_leaves_nothing_or_the_whole_object(
    store: Store, action: Callable[[Store], None], side: str, left: bytes | None
) -> None:
    arm(f"here.{side}=error")
    with pytest.raises(OSError, match=f"failpoint here.{side}"):
        action(store)
    assert store.get(KEY) == left


def test_read_checked_returns_the_bytes_that_the_digest_names(store: Store) -> None:
    store.create(KEY, b"data")
    assert read_checked(store, KEY, sha256(b"data")) == b"data"


@pytest.mark.parametrize(
    ("key", "made_again"),
    [
        (layout.train_rows("d" * 64), True),
        (layout.forecasts("m" * 64, "w" * 64), True),
        (layout.bundle("b" * 64, "model.json"), True),
        (layout.decision("north", "d" * 64), False),
        (layout.log_entry("north", 1), False),
        (layout.spec("c" * 64), False),
    ],
)
def test_read_checked_refuses_an_absent_object_and_says_which_record_wants_it(
    store: Store, key: str, made_again: bool
) -> None:
    wanted = sha256(b"data")
    with pytest.raises(DamagedObject) as raised:
        read_checked(store, key, wanted)
    absent = f"{key} is absent from memory:///, and a record names it with digest {wanted[:12]}…; put a copy of it back"
    assert str(raised.value).startswith(absent)
    assert ("`flts run --recompute` makes it again" in str(raised.value)) is made_again
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "deleted"),
    [
        (layout.test_rows("d" * 64), True),
        (layout.forecasts("m" * 64, "w" * 64), True),
        (layout.bundle("b" * 64, "model.json"), False),
        (layout.decision("north", "d" * 64), False),
        (layout.log_entry("north", 1), False),
        (layout.spec("c" * 64), False),
    ],
)
def test_read_checked_refuses_a_damaged_object_and_never_advises_to_delete_what_the_log_names(
    store: Store, key: str, deleted: bool
) -> None:
    store.create(key, b"dat")
    with pytest.raises(DamagedObject) as raised:
        read_checked(store, key, sha256(b"data"))
    for part in (key, "memory:///", "damaged", sha256(b"dat")[:12], sha256(b"data")[:12]):
        assert part in str(raised.value)
    advice = "delete it, and `flts run --recompute`" if deleted else "put a copy of it back; .* do not delete it"
    assert re.search(advice, str(raised.value))


def test_read_json_tells_an_absent_object_from_null(store: Store) -> None:
    assert read_json(store, KEY) is None
    store.create(KEY, b'{"a":1}')
    assert read_json(store, KEY) == {"a": 1}


@pytest.mark.parametrize("data", [b"", b'{"a":', b"\xff\xfe\xfd"])
def test_read_json_refuses_what_is_no_json_and_names_it(store: Store, data: bytes) -> None:
    store.create(KEY, data)
    with pytest.raises(DamagedObject, match=f"{KEY} in memory:/// is damaged: not JSON"):
        read_json(store, KEY)


def test_the_json_that_is_read_is_the_json_that_was_written(store: Store) -> None:
    value = {"x": [1, 2.5, "é", None, True]}
    write_json_once(store, KEY, value, at="here")
    assert read_json(store, KEY) == value == json.loads(json.dumps(value))


def test_a_silent_progress_takes_everything_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Silent()
    progress.phase("fit")
    progress.epoch(1, 2, 0.5, 0.6)
    assert capsys.readouterr() == ("", "")


def test_a_table_that_lacks_a_key_says_which_object_is_damaged() -> None:
    store = memory_store()
    store.create(KEY, b'{"a":{"b":1}}')
    value = read_json(store, KEY)
    assert value == {"a": {"b": 1}}
    for table, key in ((value, "c"), (value["a"], "d")):
        assert table.get(key) is None
        with pytest.raises(DamagedObject, match=f"{KEY} in memory:/// is damaged: it lacks '{key}'; put a copy"):
            table[key]
    assert copy.deepcopy(value) == type(value)(value.items()) == value  # as dataclasses.asdict makes one


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"text"'])
def test_an_object_that_holds_no_table_is_damaged(content: bytes) -> None:
    store = memory_store()
    store.create(KEY, content)
    with pytest.raises(DamagedObject, match=f"{KEY} in memory:/// is damaged: it holds no table"):
        read_json(store, KEY)
