"""A parser turns any bytes into a message or refuses them in one line; it raises nothing else."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.contracts.test_messages import ALL

from flts.contracts import layout
from flts.contracts.errors import DataError
from flts.contracts.messages import Message

KINDS = [kind for kind, _ in ALL]
SENT = [json.loads(kind(**fields).to_bytes()) for kind, fields in ALL]

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


def parsed(kind: type[Message], data: bytes) -> Message | None:
    """The message, or None for bytes that are refused as expected."""
    refused = ""
    try:
        return kind.parse(data)
    except DataError as error:
        refused = str(error)
    assert refused.startswith(f"{kind.topic}: ")
    assert "\n" not in refused
    return None


@given(st.sampled_from(KINDS), st.binary(max_size=200))
@example(KINDS[0], b"\xed\xa0\x80")
@example(KINDS[0], b'{"v":1e400}')
@example(KINDS[1], b"[" * 200)
def test_any_bytes_are_a_message_or_refused(kind: type[Message], data: bytes) -> None:
    parsed(kind, data)


@given(st.sampled_from(range(len(ALL))), st.data())
def test_a_message_with_fields_of_any_kind_is_a_message_or_refused(which: int, data: st.DataObject) -> None:
    kind, sent = KINDS[which], dict(SENT[which])
    for name in data.draw(st.lists(st.sampled_from(sorted(sent)), min_size=1, max_size=3)):
        sent[name] = data.draw(anything)
    message = parsed(kind, json.dumps(sent).encode())
    if message is not None:
        assert kind.parse(message.to_bytes()) == message


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
@example("dataset", "a/./b", "x")
@example("dataset", "a/\u2024\u2024/b", "x")
def test_no_name_leaves_its_folder(bucket: str, key: str, scope: str) -> None:
    try:
        named = layout.checked_key(bucket, key)
    except ValueError:
        named = "dataset/ok"
    try:
        scoped = layout.scope_pointer(layout.scope_name(scope))
    except ValueError:
        scoped = layout.scope_pointer("ok")
    for name in (named, scoped):
        parts = name.split("/")
        assert parts[0] in layout.BUCKETS
        assert all(part not in {"", ".", ".."} and not part.startswith(".") for part in parts)
        assert name.isascii()
        assert name.isprintable()
