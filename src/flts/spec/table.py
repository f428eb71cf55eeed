"""What every table of a Spec is: frozen, strict about keys and numbers, each field documented where it is declared."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict

LOCATOR: JsonDict = {"locator": True}
HASHED_WHEN_CHANGED: JsonDict = {"hashed": "when-changed"}
"""Of a field that was added later: while it has its default it is in no hash and in no stored Spec."""

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1, le=10**9)]
NonNegative = Annotated[int, Field(ge=0, lt=2**63)]


class Table(BaseModel):
    """One table of flts.toml: frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    looks_ahead: ClassVar[bool] = False
    """Whether the family of this table uses the columns that are known for the rows to forecast."""

    @field_validator("*", mode="before")
    @classmethod
    def _a_boolean_is_not_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Python takes true for 1, so `min_skill = false`, meant as "off", would be the number 0
        annotation = cls.model_fields[str(info.field_name)].annotation
        options = (annotation, *get_args(annotation))
        if isinstance(value, bool) and (int in options or float in options):
            raise ValueError(f"expected a number, not {str(value).lower()}")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _text_is_unicode(cls, value: Any) -> Any:
        # bytes of a flag or variable that are not UTF-8 become lone surrogates, which no file or hash can hold
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError(f"{text!r} is not UTF-8 text")
        return value


def table_in(annotation: Any) -> type[BaseModel] | None:
    """The table that a field with this annotation holds; None for a field with a value."""
    if get_origin(annotation) in {Union, UnionType}:
        return next(filter(None, map(table_in, get_args(annotation))), None)
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
