"""flts.toml is written in one step: whole, under its rights and links, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.contracts.errors import UsageError
from flts.spec.written import write_text


def test_a_new_file_does_not_replace_an_existing_one(tmp_path: Path) -> None:
    file = tmp_path / "flts.toml"
    write_text(file, "first", replace=False)
    with raises(UsageError, code="file-exists"):
        write_text(file, "second", replace=False)
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_replaced_keeps_its_rights_and_a_link_to_it(tmp_path: Path) -> None:
    file, link = tmp_path / "flts.toml", tmp_path / "link.toml"
    file.write_text("first")
    file.chmod(0o640)
    link.symlink_to(file)
    write_text(link, "second", replace=True)
    assert link.is_symlink()
    assert file.read_text() == "second"
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("replace", [True, False])
def test_a_folder_that_does_not_exist_is_one_message(tmp_path: Path, replace: bool) -> None:
    with raises(UsageError, code="cannot-write"):
        write_text(tmp_path / "absent/flts.toml", "text", replace=replace)
