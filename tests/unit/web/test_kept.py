"""A file of a running server is read anew when it changes; a broken one leaves the old in force."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from flts.contracts.errors import UsageError
from flts.web.kept import Kept


def number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        raise UsageError(f"{file} is broken") from None


def test_the_newest_whole_content_is_in_force(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    kept = Kept("serve", [file], lambda: number(file), seconds=0.0)
    with capture_logs() as logged:
        assert kept() == 1
        file.write_text("22")
        assert kept() == 22
        file.write_text("no number")
        assert [kept(), kept()] == [22, 22]
        file.unlink()
        assert kept() == 22
        (tmp_path / "new").write_text("33")
        (tmp_path / "new").rename(file)
        assert kept() == 33
    assert [line["event"] for line in logged] == ["file_reread", "file_refused", "file_refused", "file_reread"]
    assert logged[1]["reason"] == f"{file} is broken"
    assert logged[0]["files"] == [str(file)]


def test_a_link_that_names_another_file_is_a_change(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / f"really-{name}").write_text(name)
    link = tmp_path / "link"
    link.symlink_to("really-1")
    kept = Kept("serve", [link], lambda: number(link), seconds=0.0)
    with capture_logs():
        assert kept() == 1
        (tmp_path / "other").symlink_to("really-2")
        (tmp_path / "other").replace(link)
        assert kept() == 2


def test_files_are_looked_at_no_more_often_than_said(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    kept = Kept("serve", [file], lambda: number(file), seconds=3600.0)
    file.write_text("22")
    assert kept() == 1
