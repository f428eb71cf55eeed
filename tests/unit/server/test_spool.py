"""Lines wait on the disk until the store has them: no end of a process loses one, and what is lost is counted."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.contracts import failpoints
from flts.contracts.errors import MachineFailed
from flts.contracts.layout import inference_part
from flts.server.spool import Spool

DAY = "20260102"
LARGE = 2**30
OpenSpool = Callable[..., Spool]


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[OpenSpool]:
    """Opens spools of one folder, each as another process has it; closes them at the end."""
    with ExitStack() as opened:

        def open_one(limit: int = LARGE, *, part_bytes: int = LARGE, part_seconds: float = 3600.0) -> Spool:
            found = Spool(tmp_path / "spool", limit, part_bytes=part_bytes, part_seconds=part_seconds)
            return opened.enter_context(closing(found))

        yield open_one


def taken(spool: Spool) -> list[bytes]:
    """The lines of every complete part, the oldest part first, as a store takes them."""
    parts = []
    while (part := spool.next()) is not None:
        parts.append(part[1])
        spool.done(stored=True)
    return parts


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond this size: the system then takes the first bytes of a write only."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_of_a_scope_and_day_become_one_part_under_its_key(open_spool: OpenSpool) -> None:
    files = open_spool()
    files.append("north", DAY, [b"1\n", b"2\n"])
    files.append("north", DAY, [b"3\n"])
    assert not files.complete()
    assert files.next() is None
    assert files.complete(everything=True)
    found = files.next()
    assert found is not None
    key, data = found
    named = inference_part(key)
    assert named is not None
    assert (named.scope, named.day, data) == ("north", DAY, b"1\n2\n3\n")
    files.done(stored=True)
    assert (files.next(), files.waiting) == (None, 0)


def test_scopes_and_days_have_parts_of_their_own(open_spool: OpenSpool) -> None:
    files = open_spool()
    for scope, day in (("north", DAY), ("south", DAY), ("north", "20260103")):
        files.append(scope, day, [f"{scope} {day}\n".encode()])
    files.complete(everything=True)
    assert taken(files) == [b"north 20260102\n", b"south 20260102\n", b"north 20260103\n"]


def test_a_part_is_complete_by_its_size_or_by_its_age(open_spool: OpenSpool) -> None:
    files = open_spool(part_bytes=4)
    files.append("north", DAY, [b"12\n", b"34\n"])
    files.append("north", DAY, [b"5\n"])
    assert files.complete()
    assert taken(files) == [b"12\n34\n"]
    old = open_spool(part_seconds=0.0)
    old.append("north", DAY, [b"6\n"])
    assert old.complete()


def test_a_part_that_the_store_refused_comes_again_under_the_same_name(open_spool: OpenSpool) -> None:
    files = open_spool(part_bytes=1)
    files.append("north", DAY, [b"1\n"])
    first = files.next()
    files.done(stored=False)
    assert files.next() == first


def test_beyond_the_limit_the_oldest_parts_are_dropped_and_their_lines_counted(open_spool: OpenSpool) -> None:
    files = open_spool(8, part_bytes=4)
    for number in range(4):
        files.append("north", DAY, [b"%d\n" % number, b"x\n"])
    assert files.dropped == {"spool-full": 4}
    assert files.waiting == 8
    assert taken(files) == [b"2\nx\n", b"3\nx\n"]


def test_a_part_that_is_being_stored_is_not_dropped(open_spool: OpenSpool) -> None:
    files = open_spool(4, part_bytes=2)
    files.append("north", DAY, [b"0\n"])
    in_hand = files.next()
    for number in (1, 2):
        files.append("north", DAY, [b"%d\n" % number])
    assert files.dropped == {"spool-full": 1}
    files.done(stored=False)
    assert files.next() == in_hand


def test_an_open_part_is_dropped_where_it_is_the_oldest(open_spool: OpenSpool) -> None:
    files = open_spool(6)
    files.append("north", DAY, [b"1\n"])
    files.append("south", DAY, [b"2\n", b"3\n"])
    files.append("north", DAY, [b"4\n"])
    files.append("north", DAY, [b"5\n"])
    files.complete(everything=True)
    assert files.dropped == {"spool-full": 2}
    assert taken(files) == [b"2\n3\n", b"5\n"]


def remove_files(spool: Path) -> None:
    """What a program that cleans up does to files of an older age."""
    for part in spool.glob("*/*/*/*.jsonl"):
        part.unlink()


def test_a_part_whose_file_was_removed_is_counted_and_holds_up_no_other_one(
    open_spool: OpenSpool, tmp_path: Path
) -> None:
    files = open_spool(part_bytes=2)
    files.append("north", DAY, [b"1\n"])
    remove_files(tmp_path / "spool")
    files.append("north", DAY, [b"2\n"])
    assert taken(files) == [b"2\n"]
    assert (files.dropped, files.waiting) == ({"disk": 1}, 0)


def test_nor_does_the_limit_end_the_writer_where_the_oldest_file_was_removed(
    open_spool: OpenSpool, tmp_path: Path
) -> None:
    files = open_spool(4, part_bytes=2)
    files.append("north", DAY, [b"1\n"])
    remove_files(tmp_path / "spool")
    for number in (2, 3):
        files.append("north", DAY, [b"%d\n" % number])
    assert files.dropped == {"disk": 1}
    assert taken(files) == [b"2\n", b"3\n"]


def test_a_full_disk_loses_the_new_lines_only_and_cuts_no_line_in_half(open_spool: OpenSpool) -> None:
    files = open_spool()
    files.append("north", DAY, [b"whole\n"])
    with files_of_at_most(10):
        files.append("north", DAY, [b"lost\n", b"too\n"])
    files.append("north", DAY, [b"after\n"])
    files.complete(everything=True)
    assert files.dropped == {"disk": 2}
    assert taken(files) == [b"whole\n", b"after\n"]


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(open_spool: OpenSpool, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with raises(MachineFailed, code="spool-unusable", folder=str(tmp_path / "spool")):
        open_spool()


def test_the_files_of_a_process_that_ended_are_taken_over_and_those_of_a_living_one_are_not(
    open_spool: OpenSpool, tmp_path: Path
) -> None:
    ended, living = open_spool(), open_spool()
    ended.append("north", DAY, [b"left\n"])
    living.append("north", DAY, [b"mine\n"])
    ended.close()
    heir = open_spool()
    assert heir.take_over() == 1
    assert heir.take_over() == 0
    assert heir.waiting == 5
    assert heir.complete()
    assert taken(heir) == [b"left\n"]
    assert len(list((tmp_path / "spool").iterdir())) == 2, "the folder of the ended process is gone"
    living.complete(everything=True)
    assert taken(living) == [b"mine\n"]


def test_half_a_line_that_a_process_left_is_cut_off(open_spool: OpenSpool, tmp_path: Path) -> None:
    ended = open_spool()
    ended.append("north", DAY, [b"whole\n"])
    (file,) = (tmp_path / "spool").glob("*/north/*/*.jsonl")
    with file.open("ab") as part:
        part.write(b'{"half')
    ended.close()
    heir = open_spool()
    heir.take_over()
    assert taken(heir) == [b"whole\n"]


@pytest.mark.parametrize("point", ["spool.adopt.before", "spool.adopt.after", "spool.clear.before"])
def test_a_process_that_ends_while_it_takes_over_loses_no_line(point: str, open_spool: OpenSpool) -> None:
    ended = open_spool()
    ended.append("north", DAY, [b"1\n"])
    ended.append("south", DAY, [b"2\n"])
    ended.close()
    first = open_spool()
    failpoints.arm(f"{point}=error")
    with pytest.raises(OSError, match="failpoint"):
        first.take_over()
    first.close()
    heir = open_spool()
    heir.take_over()
    assert sorted(taken(heir)) == [b"1\n", b"2\n"]


def test_a_spool_that_is_empty_leaves_no_folder(open_spool: OpenSpool, tmp_path: Path) -> None:
    files = open_spool()
    files.append("north", DAY, [b"1\n"])
    files.complete(everything=True)
    assert taken(files) == [b"1\n"]
    files.close()
    assert list((tmp_path / "spool").iterdir()) == []
