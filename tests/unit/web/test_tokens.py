"""A file of tokens is read whole or refused with one sentence that names the entry and the key, and shows no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.contracts.errors import UsageError
from flts.web.tokens import LARGEST, RIGHTS, Token, digest_of, read_tokens

SHA = digest_of(b"one").hex()
WHOLE = f"""
[[token]]
name = "nightly"
rights = ["predict"]
sha256 = "{SHA}"

[[token]]
name = "nightly"
rights = ["predict", "read", "admin"]
sha256 = "{digest_of(b"two").hex()}"
expires = 2030-01-31T00:00:00+01:00
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def test_two_tokens_of_one_name_may_be_valid_at_once(file: Path) -> None:
    file.write_text(WHOLE)
    first, second = read_tokens(file)
    assert first == Token("nightly", frozenset({"predict"}), digest_of(b"one"))
    assert (second.name, second.rights) == ("nightly", RIGHTS)
    assert second.expires == 1896044400.0


@pytest.mark.parametrize(
    "written", ["2030-01-31T00:00:00+01:00", '"2030-01-31t00:00:00+01:00"', "2030-01-30T23:00:00Z"]
)
def test_an_end_is_a_date_and_time_with_an_offset(file: Path, written: str) -> None:
    file.write_text(WHOLE.replace("2030-01-31T00:00:00+01:00", written))
    assert read_tokens(file)[1].expires == 1896044400.0


@pytest.mark.parametrize(
    ("found", "instead", "entry", "key"),
    [
        ("sha256", "sha255", 1, "sha255"),
        (SHA, "hunter2", 1, "sha256"),
        (SHA, SHA.upper(), 1, "sha256"),
        (SHA, digest_of(b"two").hex(), 2, "sha256"),
        ('["predict"]', '["predict", "write"]', 1, "rights"),
        ('["predict"]', "[]", 1, "rights"),
        ('["predict"]', '"predict"', 1, "rights"),
        ('"nightly"', '"night ly"', 1, "name"),
        ('"nightly"', '"hunter2hunter2\\nhunter2"', 1, "name"),
        ('"nightly"', "5", 1, "name"),
        ('name = "nightly"\n', "", 1, "name"),
        ("2030-01-31T00:00:00+01:00", "2030-01-31T00:00:00", 2, "expires"),
        ("2030-01-31T00:00:00+01:00", "2030-01-31", 2, "expires"),
        ("2030-01-31T00:00:00+01:00", "1896044400", 2, "expires"),
        ("2030-01-31T00:00:00+01:00", '"2030-13-31T00:00:00Z"', 2, "expires"),
        ("2030-01-31T00:00:00+01:00", '"soon"', 2, "expires"),
        ('rights = ["predict"]\n', 'rights = ["predict"]\ntoken = "hunter2"\n', 1, "token"),
    ],
)
def test_what_does_not_fit_is_named(file: Path, found: str, instead: str, entry: int, key: str) -> None:
    file.write_text(WHOLE.replace(found, instead, 1))
    with raises(UsageError, code="tokens-invalid", file=str(file), entry=entry, key=key) as raised:
        read_tokens(file)
    said = str(raised.value)
    assert said.startswith(f"tokens_file {file}: entry {entry}")
    assert "\n" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"token = 5",
        b"token = [5]",
        b"[[tokens]]\nname = 'a'",
        b"[[token",
        b"\xff\xfe",
        b"x = " + b"[" * 5000,
        b"x = " + b"9" * 5000,
        b"#" * (LARGEST + 1),
    ],
)
def test_what_is_no_file_of_tokens_is_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with raises(UsageError, code="tokens-invalid", file=str(file)) as raised:
        read_tokens(file)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file in (tmp_path / "absent", tmp_path):
        with raises(UsageError, code="tokens-unreadable", file=str(file)):
            read_tokens(file)
