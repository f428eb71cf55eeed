"""A crash test can stop at every write: each has a name, read from the code, so a new one without a name is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.points import names, points, unnamed, writes

NOT_NAMED = {
    "contracts/ports.py write_once store.create": "passes on the name from its caller",
    "contracts/ports.py point_at store.replace": "passes on the name from its caller",
    "contracts/ports.py take_away store.erase": "passes on the name from its caller",
    "backends/store.py open_store place.mkdir": "an empty folder says nothing, and is made again",
    "backends/store.py create large.create": "the caller names the write; integration/test_s3 ends it in between",
    "backends/store.py upload large.upload": "the caller names the write; integration/test_s3 ends it in between",
    "backends/store.py erase obstore.delete": "the caller names the removal",
    "backends/large.py _drop obstore.delete": "takes away what no reader sees",
    "backends/buckets.py create bucket.create": "passes on to the store of one bucket",
    "backends/buckets.py replace bucket.replace": "passes on to the store of one bucket",
    "backends/buckets.py erase bucket.erase": "passes on to the store of one bucket",
    "backends/buckets.py upload bucket.upload": "passes on to the store of one bucket",
    "backends/buckets.py delete bucket.delete": "passes on to the store of one bucket",
    "home.py locked (home / 'lock').open": "holds no result; the kernel frees the lock of a process that ended",
    "server/spool.py _take (folder / _LOCK).open": "holds no result; the kernel frees the lock of a process that ended",
    "server/spool.py append os.truncate": "after a disk that took half a line; its reader cuts off what is left",
    "runner/child.py main os.fdopen": "the pipe to the parent",
    "runner/child.py _make_scratch scratch.mkdir": "temporary files; the parent removes them, or the child",
    "runner/child.py _remove_scratch shutil.rmtree": "removes temporary files",
    "train/isolate.py train_isolated tempfile.TemporaryFile": "has no name on the disk; ends with its process",
    "train/isolate.py cancel shutil.rmtree": "removes temporary files",
    "train/isolate.py train_isolated shutil.rmtree": "removes temporary files",
    "preprocess/files.py read_file _without_blank_ends(_parquet(file)).rename": "columns of a table in memory",
    "preprocess/files.py _csv frame.rename": "columns of a table in memory",
    "preprocess/time_formats.py _literal text.replace": "a text in memory",
    "preprocess/time_formats.py rewritten group('zone', '').replace": "a column in memory",
    "preprocess/unpack.py _zipped archive.open": "reads from memory",
    "preprocess/parquet.py to_parquet frame.rechunk().write_parquet": "into memory",
    "drawing/figure.py _drawn self.figure.savefig": "into memory",
    "drawing/figure.py png Image.open": "reads from memory",
    "drawing/figure.py save place.write_bytes": "the file a person asked for",
    "cli/forecast.py _write frame.write_parquet": "the file a person asked for with --output",
    "cli/forecast.py _write as_text(frame).write_csv": "the file a person asked for with --output",
    "cli/forecast.py _write as_text(frame).write_json": "the file a person asked for with --output",
    "spec/written.py write_bytes part.write_bytes": "beside the flts.toml that a person asked for, until it is whole",
    "spec/written.py write_bytes part.replace": "the flts.toml that a person asked for, whole",
    "spec/written.py write_bytes place.hardlink_to": "the flts.toml that a person asked for, whole",
    "spec/written.py write_bytes part.unlink": "removes what lay beside it",
    "cli/runs.py plot folder.mkdir": "pictures; the command draws them again",
    "cli/runs.py plot file.write_bytes": "pictures; the command draws them again",
    "verification/write/folder.py write_report folder.mkdir": "the folder of the report, named with --output",
    "verification/write/folder.py write_report (folder / name).write_text": "the report; its command makes it again",
    "verification/environments.py made dataclasses.replace": "a value in memory",
    "verification/evaluation.py look dataclasses.replace": "a value in memory",
    "verification/evaluation.py _as_first_said dataclasses.replace": "a value in memory",
    "gateway/objects.py delete_object OBJECTS.delete": "says which method a route has",
    "server/page/box.py result as_text(answer.frame()).write_csv": "the text of a download, no file",
    "backends/mlflow_file.py make_whole file.parent.mkdir": "an empty folder says nothing, and is made again",
    "backends/mlflow_lock.py alone os.open": "reads; the kernel frees the lock of a process that ended",
    "backends/mlflow_file.py _free left.unlink": "what a killed process left beside the tracker's database",
    "backends/mlflow_file.py _from_template copy.unlink": "a copy that is not used",
    "backends/mlflow_file.py _make made.replace": "the tracker's database without a run, whole or absent",
    "backends/mlflow_template.py keep template.parent.mkdir": "an empty folder says nothing, and is made again",
    "backends/mlflow_template.py keep left.unlink": "what a killed process left beside the template",
    "backends/mlflow_template.py keep part.touch": "the template, whole or absent; any process makes it again",
    "backends/mlflow_template.py keep part.replace": "the template, whole or absent; any process makes it again",
    "backends/tracking.py _remove_folder_of_uri folder.rmdir": "the empty folder that MLflow made where it was called",
    "backends/tracking.py log tempfile.TemporaryDirectory": "temporary files of the tracker, a view for people",
    "backends/tracking.py _lay_out target.parent.mkdir": "temporary files of the tracker",
    "backends/tracking.py _lay_out target.write_bytes": "temporary files of the tracker",
    "backends/mlflow_model.py write_model file.parent.mkdir": "temporary files of the tracker",
    "backends/mlflow_model.py write_model file.write_bytes": "temporary files of the tracker",
    **{
        f"backends/mlflow_model.py _write_environment (folder / {name}).write_text": "temporary files of the tracker"
        for name in ("REQUIREMENTS", "CONDA", "VIRTUALENV")
    },
    **{
        f"doctor/store.py {call}": "a temporary object of the doctor"
        for call in (
            *("_probe store.create", "_probe store.delete", "_use store.create", "_use store.delete"),
            *("both store.upload", "overtaken store.upload"),
        )
    },
}
"""Writes at which no process needs to be stopped, each with its reason."""
OTHERS = ("stack/", "testing/")
"""Files of the servers that are started for trying and for tests, and of tests; none of them is flts's own."""


def source(folder: Path, text: str, name: str = "stage.py") -> Path:
    """A folder with one file of source code."""
    (folder / name).write_text(text)
    return folder


def test_every_write_in_the_source_code_has_a_name_or_a_reason_for_having_none() -> None:
    assert {call.place for call in unnamed() if not call.file.startswith(OTHERS)} == NOT_NAMED.keys()


def test_the_points_are_those_before_and_after_every_name() -> None:
    assert len(names()) > 20
    assert points() == sorted(f"{name}.{side}" for name in names() for side in ("before", "after"))
    assert {"home.version.before", "preprocess.meta.after", "promote.pointer.root.before"} <= set(points())


@pytest.mark.parametrize(
    "write",
    [
        "store.create(key, data)",
        "self.place.store.replace(key, data)",
        "await store.upload(key, chunks)",
        "await store.delete(key)",
        "path.write_text(text)",
        "(home / 'x').write_bytes(data)",
        "part.rename(whole)",
        "part.replace(whole)",
        "frame.write_parquet(path)",
        "open(path, 'w')",
        "open(path, mode)",
        "path.open('a+')",
        "path.open(mode='wb')",
        "os.replace(a, b)",
        "os.open(path, os.O_CREAT)",
        "shutil.copytree(a, b)",
        "tempfile.mkdtemp()",
    ],
)
def test_a_write_without_a_name_is_found(write: str, tmp_path: Path) -> None:
    folder = source(tmp_path, f"class Stage:\n    def do(self):\n        {write}\n")
    (found,) = unnamed(folder)
    assert (found.file, found.function, found.line) == ("stage.py", "do", 3)


@pytest.mark.parametrize(
    "reading",
    [
        "text.replace('a', 'b')",
        "moment.replace(year=2026)",
        "frame['time'].str.replace(pattern, instead)",
        "frame.rename({'a': name})",
        "open(path)",
        "open(path, 'rb')",
        "path.open()",
        "path.open('r')",
        "store.get(key)",
        "os.read(0, 1)",
        "shutil.which('ps')",
    ],
)
def test_a_call_that_does_not_write_is_not_taken_for_a_write(reading: str, tmp_path: Path) -> None:
    assert writes(source(tmp_path, f"def do():\n    {reading}\n")) == []


def test_a_write_between_the_points_of_one_name_is_named(tmp_path: Path) -> None:
    named = 'def do():\n    failpoint("a.before")\n    path.write_text(text)\n    failpoint("a.after")\n'
    assert unnamed(source(tmp_path, named)) == []
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        ['failpoint("a.before")', "path.write_text(text)"],
        ["path.write_text(text)", 'failpoint("a.before")', 'failpoint("a.after")'],
        ['failpoint("a.before")', "path.write_text(text)", 'failpoint("b.after")'],
        ['failpoint("a.after")', "path.write_text(text)", 'failpoint("a.before")'],
    ],
)
def test_a_write_that_is_not_between_the_points_of_one_name_is_found(body: list[str], tmp_path: Path) -> None:
    lines = "".join(f"    {line}\n" for line in body)
    assert [call.what for call in unnamed(source(tmp_path, f"def do():\n{lines}"))] == ["path.write_text"]


def test_points_in_another_function_do_not_count(tmp_path: Path) -> None:
    points_of_one = 'def one():\n    failpoint("a.before")\n    failpoint("a.after")\n'
    assert len(unnamed(source(tmp_path, points_of_one + "def two():\n    path.touch()\n"))) == 1


def test_a_name_may_be_chosen_by_a_condition(tmp_path: Path) -> None:
    source(tmp_path, 'write_once(store, key, data, at="b" if x else "a")\n')
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("write_once(store, key, data, at=name)", "must be a literal"),
        ("point_at(store, key, data)", "must be a literal"),
        ("failpoint(name)", "must be a literal"),
        ("failpoint('a.between')", "a point is named NAME.before or NAME.after"),
        ("write_once(s, k, d, at='a')\npoint_at(s, k, d, at='a')", "share the name 'a'"),
    ],
)
def test_a_name_that_is_not_a_literal_or_not_unique_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        names(source(tmp_path, text))
