"""What a test expects of an error: its class, its code and its data, whatever the sentence for people says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from flts.contracts.errors import FltsError, Plain

E = TypeVar("E", bound=FltsError)


@contextmanager
def raises(error: type[E], *, code: str, **data: Plain) -> Iterator[pytest.ExceptionInfo[E]]:
    """Pass where the block raises exactly this class with this code; data: those values at least."""
    with pytest.raises(error) as caught:
        yield caught
    raised = caught.value
    assert (type(raised), raised.code) == (error, code), str(raised)
    assert {name: raised.data.get(name) for name in data} == data, str(raised)
