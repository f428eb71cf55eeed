"""Who asks, and for how long an answer is of use: what the head of a request says, whatever its body does."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import Scope

from flts.web.problem import Problem

REQUEST_ID, REQUEST_TIMEOUT = b"x-request-id", b"x-request-timeout"
LONGEST = 300.0
"""Seconds that a caller may allow at most."""
_ID = re.compile(rb"[!-~]{1,200}")


class Caller(NamedTuple):
    """Who asks.

    until: the deadline, by the monotonic clock; gone: tells whether the client has left;
    id: what the caller calls the request in X-Request-Id; token: the name of its token; unique: the UUID
    of the request.
    """

    until: float = math.inf
    gone: Callable[[], bool] | None = None
    id: str | None = None
    token: str | None = None
    unique: str | None = None


NOBODY = Caller()
"""A call from inside: it waits as long as it takes."""


def caller_of(scope: Scope, gone: Callable[[], bool], seconds: float) -> Caller:
    """The caller of a request. gone: tells whether the client has left. Raises Problem.

    seconds: what it may take unless its head says otherwise.
    """
    state, headers = scope["state"], dict(scope["headers"])
    asked = headers.get(REQUEST_TIMEOUT)
    allowed = seconds if asked is None else _seconds(asked)
    until = state.get("started", time.monotonic()) + allowed
    return Caller(until, gone, _id(headers), state.get("token"), state.get("request_id"))


def _seconds(asked: bytes) -> float:
    try:
        seconds = math.nan if b"_" in asked else float(asked)  # Python takes 1_0 for 10
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds <= LONGEST:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"X-Request-Timeout is {asked[:40].decode('latin-1')!r}; it takes seconds, more than 0 and at most"
            f" {LONGEST:g}",
            code="timeout-invalid",
        )
    return seconds


def _id(headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's own id; one that is no short word of ASCII is left out."""
    given = headers.get(REQUEST_ID)
    return given.decode("ascii") if given is not None and _ID.fullmatch(given) else None
