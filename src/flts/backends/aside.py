"""Calls that may never end, in threads that keep no process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def aside(call: Callable[[], T], name: str) -> Future[T]:
    """Begin a call in a thread of its own. Wait for its answer with a time limit: the call itself has none."""
    answer: Future[T] = Future()
    threading.Thread(target=settle, args=(answer, call), name=name, daemon=True).start()
    return answer


def settle(answer: Future[T], call: Callable[[], T]) -> None:
    """Call, and hand over the result or the error."""
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for the answer
        answer.set_exception(error)
