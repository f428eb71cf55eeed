"""Limits on all connections together, and what is said of those that were ended."""

from __future__ import annotations

import asyncio
import resource

import pytest
from structlog.testing import capture_logs

from flts.web.connections import OWN_DESCRIPTORS, TroubleLog, affordable


def test_trouble_is_logged_at_once_and_then_its_count() -> None:
    async def scene() -> None:
        trouble = TroubleLog("gateway", 3, seconds=0.2)
        for _ in range(100):
            trouble.note("full")
        trouble.note("invalid")
        await asyncio.sleep(0.3)
        trouble.note("full")
        trouble.log_rest()

    with capture_logs() as logged:
        asyncio.run(scene())
    assert [(line["reason"], line["count"]) for line in logged] == [
        ("full", 1),
        ("invalid", 1),
        ("full", 99),
        ("full", 1),
    ]


def test_connections_are_as_many_as_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [64, 128]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, pair: limits.__setitem__(slice(None), list(pair)))
    assert affordable(1000) == (128 - OWN_DESCRIPTORS) // 2
    assert limits == [128, 128], "the limit is raised as far as it may be"
    assert affordable(5) == 5
    limits[:] = [10, 10]
    assert affordable(1000) == 1
    limits[:] = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    assert affordable(1000) == 1000
