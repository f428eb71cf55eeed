"""`flts token new` prints a token once, and an entry that lets it in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Flts

from flts.web.tokens import digest_of, read_tokens


def test_the_entry_belongs_to_the_token_and_does_not_hold_it(flts: Flts, tmp_path: Path) -> None:
    printed = [
        flts("token", "new", "nightly"),
        flts("token", "new", "nightly", "--rights", "admin", "--expires", "2030-01-31T00:00:00+01:00"),
        flts("token", "new", "weekly", "--rights", "read", "--rights", "admin"),
    ]
    file = tmp_path / "tokens.toml"
    file.write_text("".join(outcome.out for outcome in printed))
    first, second, third = read_tokens(file)
    assert (sorted(first.rights), first.expires) == (["predict", "read"], None)
    assert (sorted(second.rights), second.expires) == (["admin"], 1896044400.0)
    assert sorted(third.rights) == ["admin", "read"]
    for outcome, token in zip(printed, (first, second, third), strict=True):
        (sent,) = re.findall(r"flts_[A-Za-z0-9_-]{43}", outcome.err)
        assert (outcome.code, token.digest) == (0, digest_of(sent.encode()))
        assert sent not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("two words",), "name-invalid"),
        (("a", "--rights", "predict,write"), "right-unknown"),
        (("a", "--rights", ""), "right-unknown"),
        (("a", "--expires", "2030-01-31"), "time-invalid"),
        (("a", "--expires", "2020-01-31T00:00:00Z"), "time-passed"),
    ],
)
def test_what_does_not_fit_is_refused(flts: Flts, arguments: tuple[str, ...], code: str) -> None:
    outcome = flts("token", "new", *arguments)
    assert outcome.code == 2
    assert outcome.error is not None
    assert outcome.error.code == code
    assert outcome.out == ""
