"""A process that fits every family takes half a minute: all workers of a test run share its answer."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Iterator
from functools import cache

import pytest

from flts.testing import conformance


@pytest.fixture(scope="session", autouse=True)
def _fresh_processes_are_shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    start = conformance.in_a_fresh_process

    @cache
    def once(module: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
        kept = shared / f"{module}-{hash_seed}.json"
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                ended = start(module, hash_seed)
                kept.write_text(json.dumps([ended.returncode, ended.stdout, ended.stderr]))
        return subprocess.CompletedProcess([module], *json.loads(kept.read_text()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance, "in_a_fresh_process", once)
        yield
