"""A page of the gateway asks the store for no more because of objects that it does not show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from fastapi import FastAPI
from tests.support.asgi import ask

from flts.backends import folder
from flts.backends.store import memory_store, open_store
from flts.contracts.ports import StreamedStore
from flts.gateway.app import create_app
from flts.web.security import Auth

FEW, MANY = 10, 3000


def filled(store: StreamedStore, count: int) -> StreamedStore:
    """So many folders of one object each."""
    for number in range(count):
        store.create(f"dataset/m{number:04}/rows.csv", b"x")
    return store


def made(store: StreamedStore) -> FastAPI:
    """A gateway to it."""
    return create_app(store, auth=Auth("127.0.0.1", None), max_object_bytes=1000, idle_seconds=60)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("limit=2", "m0000"),
        ("limit=2&after=m0004/rows.csv", "m0005"),
        ("limit=2&prefix=m0", "m0000"),
        ("limit=2&prefix=m0007", "m0007"),
        ("limit=2&prefix=m0&after=m0004/rows.csv", "m0005"),
        ("limit=2&prefix=m0004/", "m0004"),
    ],
)
def test_a_page_takes_one_answer_of_the_server_however_many_objects_there_are(
    query: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[int] = []
    asked = obstore.list

    def counted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for answer in asked(*arguments, **options):
            answers.append(len(answer))
            yield answer

    monkeypatch.setattr(obstore, "list", counted)
    for count in (FEW, MANY):
        app = made(filled(memory_store(), count))
        answers.clear()
        objects = ask(app, "GET", f"/objects/dataset?{query}").json()["objects"]
        assert objects[0]["key"] == f"{first}/rows.csv"
        assert len(answers) == 1


@pytest.mark.parametrize("query", ["limit=2", "limit=2&after=m0004/rows.csv", "limit=2&prefix=m0007"])
def test_on_a_disk_a_page_reads_the_folders_that_it_shows(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    entries = folder._entries

    def counted(root: Path, parent: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        read.append(parent)
        return entries(root, parent)

    monkeypatch.setattr(folder, "_entries", counted)
    app = made(filled(open_store(tmp_path.as_uri()), 100))
    assert ask(app, "GET", f"/objects/dataset?{query}").json()["objects"]
    assert len(read) <= 5
