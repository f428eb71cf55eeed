"""How a file writes its table: what the Spec or a person names, and what is found where nothing is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from flts.spec.dataset import Dataset
from flts.spec.sources import validate
from flts.spec.time_formats import INFER, ISO


@dataclass(frozen=True)
class Dialect:
    """One value per key of the Spec with this name; `infer` where the file itself tells."""

    encoding: str = INFER
    separator: str = INFER
    decimal: str = INFER
    thousands: str = INFER
    time_format: str = INFER
    clock_column: str = INFER

    @classmethod
    def of(cls, dataset: Dataset) -> Dialect:
        """The dialect that a Spec names."""
        return cls(**{key: getattr(dataset, key) for key in cls.__dataclass_fields__})

    @property
    def named(self) -> Mapping[str, str]:
        """The values that are named."""
        return {key: value for key, value in asdict(self).items() if value != INFER}

    @property
    def odd(self) -> Mapping[str, str]:
        """The values that differ from those of a plain file."""
        return {key: value for key, value in self.named.items() if value != getattr(PLAIN, key)}

    def over(self, found: Dialect) -> Dialect:
        """This dialect, with what was found where it names nothing."""
        return replace(found, **self.named)


def named_dialect(values: Mapping[str, str | None]) -> Dialect:
    """The dialect that a person names by keys of the Spec; None is a key that is not named. Raises SpecError."""
    named = {key: value for key, value in values.items() if value is not None}
    origins = {f"dataset.{key}": f"flag --{key.replace('_', '-')}" for key in named}
    return Dialect.of(validate({"dataset": named}, origins).dataset)


PLAIN = Dialect("utf-8", ",", ".", "", ISO, "")
"""CSV as programs write it."""
OPEN = Dialect()
"""Nothing is named."""
