"""Canonical JSON has exactly one byte string per JSON value, and one JSON value per byte string."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flts.contracts.canonical import canonical_json, digest
from flts.spec.lineage import explain

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
LOOKALIKES = st.sampled_from([0, 0.0, -0.0, 1, 1.0, True, False, None, "", "0", "1", "null", "a", "A", "é", "e\u0301"])


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """JSON values with these leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


VALUES = nested(SCALARS, st.text())
SIMILAR = nested(LOOKALIKES, st.sampled_from(["", "a", "b", "a.b"]))
"""Values that are easily confused, so that two draws are often equal."""


def form(value: Any) -> Hashable:
    """The identity of a JSON value: its types and values, without the order of keys; -0.0 is 0.0."""
    if isinstance(value, dict):
        return "table", frozenset((key, form(item)) for key, item in value.items())
    if isinstance(value, list):
        return "list", tuple(form(item) for item in value)
    return type(value).__name__, value


def reordered(value: Any) -> Any:
    """The same value with the keys of every table in reverse order."""
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(VALUES)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    assert canonical_json(reordered(value)) == canonical_json(value)


@settings(deadline=None)
@given(VALUES)
def test_parsing_the_bytes_gives_back_the_value_and_its_types(value: Any) -> None:
    data = canonical_json(value)
    back = json.loads(data)
    assert form(back) == form(value)
    assert canonical_json(back) == data


@settings(deadline=None, max_examples=300)
@given(SIMILAR, SIMILAR)
def test_two_values_have_the_same_bytes_only_if_they_are_the_same(a: Any, b: Any) -> None:
    assert (canonical_json(a) == canonical_json(b)) == (form(a) == form(b))


@settings(deadline=None, max_examples=300)
@given(SIMILAR, SIMILAR)
def test_a_difference_is_explained_exactly_when_the_digests_differ(a: Any, b: Any) -> None:
    assert bool(explain(a, b)) == (digest(a) != digest(b))
    assert explain(a, reordered(a)) == []
