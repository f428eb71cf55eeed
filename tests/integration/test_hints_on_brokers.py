"""A message on a real broker brings every replica to look at once."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest
from tests.support.promotions import promote, two_bundles
from tests.support.servers import kafka_bus
from tests.support.services import wait_until
from tests.support.stored import chain

from flts.promotion.relay import selected
from flts.server.following import Following, Hints
from flts.server.models import ServedModels

NEVER = 3600.0
"""Seconds between two looks, so that only a message explains one."""


def serves(models: ServedModels, scope: str, number: int) -> bool:
    return models.served[scope].champion.entry.number == number


@pytest.mark.parametrize("kind", ["durable_broker", "quick_broker"])
def test_every_replica_hears_of_a_promotion(kind: str, request: pytest.FixtureRequest) -> None:
    bus = kafka_bus(request.getfixturevalue(kind))
    store, first, second = two_bundles()
    scope = kind.replace("_", "-")  # other tests send messages to the same topic
    promote(first, store=store, scope=scope)
    replicas = [ServedModels(store, (scope,)) for _ in range(2)]
    with ExitStack() as ended:
        ended.enter_context(closing(bus))
        for models in replicas:
            ended.enter_context(closing(Following(models, NEVER))).start()
            ended.enter_context(closing(Hints(models, bus))).start()
        wait_until(lambda: all(scope in models.served for models in replicas), "the first promotion")
        entries = promote(first, second, store=store, scope=scope)
        message = selected(chain(entries), entries[-1])
        bus.publish(message.topic, message.key, message.to_bytes())
        wait_until(lambda: all(serves(models, scope, 2) for models in replicas), "the message")
