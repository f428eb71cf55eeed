"""Any bytes as a file of tokens or as a cookie are read or refused; nothing else is raised, and nothing is forged."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from flts.contracts.errors import UsageError
from flts.web.security import Auth
from flts.web.session import COOKIE, Sessions
from flts.web.tokens import RIGHTS, Token, digest_of, read_tokens

BOSS = Token("boss", RIGHTS, digest_of(b"boss-token"))
SESSIONS = Sessions(Auth("127.0.0.1", None, lambda: [BOSS]), "a secret")
COOKIES = [SESSIONS.cookie(BOSS) for _ in range(3)]

toml: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=70),
    st.integers(),
    st.booleans(),
    st.lists(st.sampled_from(["predict", "read", "admin", ""]), max_size=3),
    st.sampled_from(["0" * 64, "2030-01-31T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]),
)
keys = st.sampled_from(["name", "rights", "sha256", "expires", "token"]) | st.text(max_size=5)
entries = st.lists(st.dictionaries(keys, toml, max_size=5), max_size=4)


def read(data: bytes) -> tuple[Token, ...] | None:
    """The tokens, or None for a file that is refused as expected."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tokens.toml")
        file.write_bytes(data)
        try:
            return read_tokens(file)
        except UsageError as error:
            refused = str(error)
        assert refused.startswith(f"tokens_file {file}: ")
        assert "\n" not in refused
        return None


@given(st.binary(max_size=300))
@example(b"[[token]]\nname = '\xed\xa0\x80'")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read(data)


@given(entries)
def test_any_entries_are_read_or_refused(entries: list[dict[str, Any]]) -> None:
    lines = []
    for entry in entries:
        lines.append("[[token]]")
        lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in entry.items()]
    tokens = read("\n".join(lines).encode(errors="replace"))
    assert tokens is None or len(tokens) == len(entries)


@given(st.sampled_from(COOKIES), st.data())
def test_a_cookie_with_one_other_character_is_none(cookie: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(cookie) - 1))
    other = data.draw(st.characters(exclude_characters=cookie[place]))
    assert SESSIONS.read(cookie[:place] + other + cookie[place + 1 :]) is None


@given(st.text(max_size=600) | st.lists(st.text(max_size=80), min_size=4, max_size=5).map(".".join))
@example("1.1.1.boss")
@example("٣.a.b.boss")
@example("9" * 400 + ".a.b.boss")
def test_any_text_is_no_session(cookie: str) -> None:
    assert SESSIONS.read(cookie) is None


@given(st.binary(max_size=200))
def test_any_header_is_read(header: bytes) -> None:
    scope = {"scheme": "http", "headers": [(b"cookie", header), (b"cookie", COOKIE.encode() + b"=" + header)]}
    assert SESSIONS.read(SESSIONS._cookie(scope)) is None
