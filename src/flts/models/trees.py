"""LightGBM's text of a model, checked before its library reads it: a forest that a fit of flts can have written.

Its C++ code trusts the text: a child that points back to its parent makes a forecast that never ends, and an index out
of range reads other memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flts.contracts.errors import DamagedObject
from flts.spec.models import MOST_LEAVES, MOST_TREES

HEADER = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "objective": "regression"}
PLAIN = {"num_cat": "0", "is_linear": "0"}
PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
PER_SPLIT = ("split_gain", "threshold", "internal_value", "internal_weight", "internal_count")
OF_CATEGORIES = 1
"""The bit of a decision type that says that a split is one of categories, which no fit here makes."""
WHOLE = re.compile(r"-?[0-9]{1,9}", re.ASCII)
END = "end of trees\n"


def checked(text: str, columns: int) -> str:
    """The forest in this text, without what only a continued fit reads.

    Raises DamagedObject unless it is one of regression trees over so many columns.
    """
    try:
        forest, end, _ = text.partition(END)
        if not end:
            raise ValueError("it has no end")
        _check(forest, columns)
    except (KeyError, ValueError) as error:
        raise DamagedObject(
            f"a file of trees is damaged: {str(error)[:300]}; restore the bundle from a backup", code="options-unusual"
        ) from None
    return forest + end


def _check(forest: str, columns: int) -> None:
    header, *trees = forest.split("Tree=")
    fields = _fields(header)
    if {name: fields.get(name) for name in HEADER} != HEADER:
        raise ValueError("it is no regression of LightGBM 4")
    if _whole(fields["max_feature_idx"]) != [columns - 1] or len(fields["feature_infos"].split(" ")) != columns:
        raise ValueError(f"it is not of {columns} columns")
    sizes = [len(f"Tree={tree}") for tree in trees]
    if not 0 < len(trees) <= MOST_TREES or _whole(fields["tree_sizes"]) != sizes:
        raise ValueError(f"it has {len(trees)} trees of other sizes than it says, or more than {MOST_TREES}")
    for number, tree in enumerate(trees):
        first, _, rest = tree.partition("\n")
        if first != str(number):
            raise ValueError(f"tree {number} is not in its place")
        _check_tree(_fields(rest), columns)


def _check_tree(fields: Mapping[str, str], columns: int) -> None:
    (leaves,) = _whole(fields["num_leaves"])
    if not 1 <= leaves <= MOST_LEAVES or {name: fields.get(name) for name in PLAIN} != PLAIN:
        raise ValueError(f"it has a tree of {leaves} leaves, of categories or of linear leaves")
    if leaves == 1:
        float(fields["leaf_value"])
        return
    for names, count in ((PER_LEAF, leaves), (PER_SPLIT, leaves - 1)):
        if any(len([float(value) for value in fields[name].split(" ")]) != count for name in names):
            raise ValueError("it has a tree with too few leaves or splits")
    split, kinds, left, right = (
        _whole(fields[name]) for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    if {len(split), len(kinds), len(left), len(right)} != {leaves - 1}:
        raise ValueError("it has a tree with too few splits")
    if not all(0 <= column < columns for column in split) or any(kind & OF_CATEGORIES for kind in kinds):
        raise ValueError("it has a split of a column that there is not, or of categories")
    for side in (left, right):
        # LightGBM numbers a node after its parent; a leaf is -1 - its number
        if not all(-leaves <= child < 0 or node < child < leaves - 1 for node, child in enumerate(side)):
            raise ValueError("it has a tree whose nodes do not go down")


def _whole(values: str) -> list[int]:
    found = values.split(" ")
    if not all(map(WHOLE.fullmatch, found)):
        raise ValueError(f"'{values[:40]}' is not made of whole numbers")
    return [*map(int, found)]


def _fields(lines: str) -> dict[str, str]:
    """The values by name of lines `name=value`."""
    pairs = [(name, value) for name, mark, value in (line.partition("=") for line in lines.splitlines()) if mark]
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("it says one thing twice")
    return dict(pairs)
