"""The three ways in which a stage uses a store: write once, move a pointer, read with a checked digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.raising import raises

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.failpoints import arm
from flts.contracts.listing import Listed
from flts.contracts.ports import Silent, Store, point_at, read_checked, write_once

KEY = "bucket/object"


@pytest.fixture
def store() -> Store:
    return memory_store()


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


class Forgetful(Listed):
    """A store that says an object exists and has lost it."""

    url = "memory:///"

    def get(self, key: str) -> bytes | None:
        return None

    def create(self, key: str, data: bytes) -> bool:
        return False

    def replace(self, key: str, data: bytes) -> None:
        raise NotImplementedError

    def erase(self, key: str) -> None:
        raise NotImplementedError

    def exists(self, key: str) -> bool:
        return True

    def list(self, prefix: str) -> list[str]:
        return []


def test_write_once_stores_the_bytes_and_returns_them(store: Store) -> None:
    assert write_once(store, KEY, b"first", at="here") == b"first"
    assert store.get(KEY) == b"first"


def test_write_once_returns_the_bytes_of_an_earlier_writer_and_leaves_them(store: Store) -> None:
    write_once(store, KEY, b"first", at="here")
    assert write_once(store, KEY, b"second", at="here") == b"first"
    assert store.get(KEY) == b"first"


def test_write_once_refuses_an_object_that_exists_and_is_absent() -> None:
    with raises(DamagedObject, code="object-missing", key=KEY):
        write_once(Forgetful(), KEY, b"first", at="here")


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
def test_a_crash_before_or_after_a_write_leaves_nothing_or_the_whole_object(
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
        (layout.bundle("b" * 64, "model.json"), True),
        (layout.decision("north", "d" * 64), False),
        (layout.log_entry("north", 1), False),
        (layout.spec("c" * 64), False),
    ],
)
def test_read_checked_refuses_an_absent_object_and_advises_to_restore_it(
    store: Store, key: str, made_again: bool
) -> None:
    wanted = sha256(b"data")
    with raises(DamagedObject, code="object-missing", key=key, expected=wanted) as raised:
        read_checked(store, key, wanted)
    assert str(raised.value).startswith(f"{key} is absent from memory:///, and a record names it")
    assert str(raised.value).endswith(layout.restore(key))
    assert ("`flts run --recompute`" in str(raised.value)) is made_again
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        (layout.test_rows("d" * 64), "delete it, and `flts run --recompute`"),
        (layout.bundle("b" * 64, "model.json"), "restore it from a backup, or `flts run --recompute`"),
        (layout.decision("north", "d" * 64), "restore it from a backup; do not delete it"),
        (layout.log_entry("north", 1), "restore it from a backup; do not delete it"),
        (layout.spec("c" * 64), "restore it from a backup; do not delete it"),
    ],
)
def test_read_checked_refuses_a_damaged_object_and_never_advises_to_delete_what_the_log_names(
    store: Store, key: str, advice: str
) -> None:
    store.create(key, b"dat")
    expected, found = sha256(b"data"), sha256(b"dat")
    with raises(DamagedObject, code="digest-differs", key=key, expected=expected, found=found) as raised:
        read_checked(store, key, expected)
    for part in (key, "memory:///", "damaged", found[:12], expected[:12]):
        assert part in str(raised.value)
    assert advice in str(raised.value)


def test_a_silent_progress_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Silent()
    progress.phase("fit")
    progress.epoch(1, 2, 0.5, 0.6)
    assert capsys.readouterr() == ("", "")
