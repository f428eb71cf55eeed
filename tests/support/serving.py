"""A forecast service in this process, with the champions of a store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from flts.backends.store import memory_store
from flts.contracts.ports import Store
from flts.server.app import create_app
from flts.server.models import ServedModels
from flts.server.service import ForecastService
from flts.web.security import Auth
from tests.support.asgi import Answer, ask


def application(store: Store | None = None, **limits: Any) -> FastAPI:
    """The service with every promoted model loaded; without a store it has none."""
    models = ServedModels(memory_store() if store is None else store)
    models.catch_up()
    return create_app(ForecastService(models, **limits), auth=Auth("127.0.0.1", None))


def predict(app: FastAPI, body: Mapping[str, Any] | bytes) -> Answer:
    """The answer to `POST /predict`."""
    return ask(app, "POST", "/predict", body=body if isinstance(body, bytes) else json.dumps(body).encode())
