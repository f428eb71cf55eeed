"""A list in the table of a model where one number stands is a grid: every combination is fitted, the tail chooses one.

`Searched[T]` is the type of such a table in a Spec. Without a list it is a T. With lists it is a `ParameterGrid`, which
holds them as they are hashed, and `combinations` gives the tables of type T that a family is fitted with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from flts.spec.table import Table

T = TypeVar("T", bound=Table)

MOST_COMBINATIONS = 64
"""Fits of one grid at most."""


class ParameterGrid(Table):
    """The table of a model with a list in place of at least one number."""

    of: ClassVar[type[Table]]
    """The table of one combination."""
    searched: ClassVar[Sequence[str]]
    """Fields that may hold a list where `of` has one number."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """A grid of values, all numbers checked, in their order.

        Raises ValueError for a grid that is too large and for a number that a list has twice, and the errors of `of`.
        """
        lists = _lists(values, cls.searched)
        count = math.prod(map(len, lists.values()))
        if count > MOST_COMBINATIONS:
            sizes = " × ".join(f"{len(value)} of {name}" for name, value in lists.items())
            raise ValueError(
                f"{sizes} are {count} combinations, and at most {MOST_COMBINATIONS} are tried; shorten a list"
            )
        tables = [cls.of.model_validate({**values, **one}) for one in _products(lists)]
        checked = {name: list(dict.fromkeys(getattr(table, name) for table in tables)) for name in lists}
        for name, found in checked.items():
            if len(found) < len(lists[name]):
                raise ValueError(f"{name} = {lists[name]} holds a number twice; give each number once")
        return cls.model_construct(**{**dict(tables[0]), **checked})

    @property
    def lists(self) -> Mapping[str, list[Any]]:
        """What is searched, in the order of the fields."""
        return _lists(dict(self), self.searched)


def combinations(table: T) -> Sequence[T]:
    """The tables that a family is fitted with: the products of all lists in the order of the fields, or this table."""
    if not isinstance(table, ParameterGrid):
        return [table]
    of: Any = table.of
    return [of.model_validate({**dict(table), **one}) for one in _products(table.lists)]


def searched_values(table: Table, tried: Table) -> dict[str, Any]:
    """What is searched in `table`, with the values of `tried`, one of its combinations; empty where nothing is."""
    return {name: getattr(tried, name) for name in table.lists} if isinstance(table, ParameterGrid) else {}


def _lists(values: Mapping[str, Any], searched: Sequence[str]) -> dict[str, list[Any]]:
    return {name: values[name] for name in searched if isinstance(values.get(name), list)}


def _products(lists: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*lists.values()):
        yield dict(zip(lists, values, strict=True))


class _MayBeGrid:
    """Lets pydantic read the table of a family as itself or, with lists, as a `ParameterGrid`."""

    def __get_pydantic_core_schema__(self, source: type[Table], handler: GetCoreSchemaHandler) -> CoreSchema:
        searched = _numbers(source)

        def read(value: Any, validate: Callable[[Any], Table]) -> Table:
            if isinstance(value, ParameterGrid):
                return value
            if isinstance(value, Mapping):
                value = {**value, **{name: _one(name, each) for name, each in _lists(value, searched).items()}}
                if _lists(value, searched):
                    return _grid_of(source).read(value)  # made when it is needed: that takes longer than to read a Spec
            return validate(value)

        return core_schema.no_info_wrap_validator_function(
            read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda table: table, return_schema=core_schema.any_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner: Any = schema
        grids: Any = {**inner, "schema": _grid_of(inner["schema"]["cls"]).__pydantic_core_schema__}
        return handler(grids)


def _one(name: str, value: list[Any]) -> Any:
    """A list of one number is that number."""
    if not value:
        raise ValueError(f"{name} is an empty list; give one number, or several to choose from")
    return value[0] if len(value) == 1 and not isinstance(value[0], list) else value


class _OrList:
    """A field of a `ParameterGrid`: it is written as it is, and its JSON Schema allows a list of its numbers."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            lambda value, validate: [*map(validate, value)] if isinstance(value, list) else validate(value),
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner: Any = schema
        one = handler(inner["schema"])
        several = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_COMBINATIONS, "uniqueItems": True}
        return {"anyOf": [one, several]}


@cache
def _grid_of(table: type[Table]) -> type[ParameterGrid]:
    """The grids of one kind of table. They have the name of the table, which is what the JSON Schema shows."""
    fields: dict[str, Any] = {}
    searched = _numbers(table)
    for name, info in table.model_fields.items():
        field = copy(info)
        field.metadata = [*info.metadata, *([_OrList()] if name in searched else [])]
        fields[name] = (info.annotation, field)
    grid = create_model(
        table.__name__, __base__=ParameterGrid, __doc__=table.__doc__, __module__=table.__module__, **fields
    )
    grid.of, grid.searched = table, searched
    return grid


def _numbers(table: type[Table]) -> Sequence[str]:
    """The fields that hold one number."""
    return [name for name, info in table.model_fields.items() if _is_number(info)]


def _is_number(info: FieldInfo) -> bool:
    """Whether a field holds one number, and no list."""
    options = {_plain(option) for option in (info.annotation, *get_args(info.annotation))}
    return bool(options & {int, float}) and list not in options


def _plain(annotation: Any) -> Any:
    """`int` of `Annotated[int, …]`, `list` of `list[int]`."""
    origin = get_origin(annotation)
    return get_args(annotation)[0] if origin is Annotated else origin or annotation


MAY_BE_GRID = _MayBeGrid()
Searched = Annotated[T, MAY_BE_GRID]
"""The table of a model in a Spec: pydantic reads it as a T or a `ParameterGrid` of T."""
