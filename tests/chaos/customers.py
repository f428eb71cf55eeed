"""Clients of the disturbed services: they start runs, send rows, and roll back promotions now and then."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from tests.support.experiments import small_spec
from tests.support.services import TEST, start_run

from flts.contracts.canonical import sha256
from flts.contracts.errors import UsageError
from flts.contracts.messages import InferenceData, TrainingData
from flts.promotion.stage import rollback
from flts.spec.fields import Spec
from flts.wiring import RunContext

SCOPES = ("global", "north")
ALWAYS = {"evaluate": {"gate": "always"}}
KINDS: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...] = (
    (("ridge",), ALWAYS),
    (("ridge",), {**ALWAYS, "task": {"input_length": 18}}),
    (("ridge", "gru"), {}),
    (("ridge", "automfles"), {}),
    (("ridge", "automfles"), {**ALWAYS, "task": {"seasons": [200]}}),  # too long a season: automfles is not applicable
)
SEEDS = 3
NO_ROWS = b"time,load,wind\nthis is no time,1,2\n"


@dataclass
class Customers:
    """What was acknowledged to them is theirs to expect."""

    context: RunContext
    chance: random.Random
    claimed: list[TrainingData] = field(default_factory=list)
    asked: list[InferenceData] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)

    def act(self) -> None:
        """One thing that a customer does."""
        (deed,) = self.chance.choices((self.run, self.ask, self.roll_back), (0.35, 0.55, 0.1))
        deed()

    def run(self) -> None:
        """A run of a small configuration, one that was run before or not."""
        models, tables = self.chance.choice(KINDS)
        name = {"dataset": {"identifier": self.chance.choice(SCOPES)}, "run": {"seed": self.chance.randrange(SEEDS)}}
        self.claimed.append(start_run(self.context, _spec(models, {**tables, **name})))
        self.did["runs"] += 1

    def ask(self) -> None:
        """Rows to forecast, some of them sent twice, some unreadable."""
        number = len(self.asked)
        spoilt = self.chance.random() < 0.1
        rows = TEST.head(20 + self.chance.randrange(41)).with_columns(pl.col("wind") + 0.001 * number)
        data = NO_ROWS + b"%d" % number if spoilt else rows.write_csv().encode()
        name = f"rows-{number}.csv"
        self.context.store.create(f"dataset/{name}", data)
        claim = InferenceData(
            ts=self.context.clock.now(),
            identifier=self.chance.choice(SCOPES),
            bucket="dataset",
            object_key=name,
            size=len(data),
            sha256=sha256(data),
            row_count=len(rows),
        )
        for _ in range(1 + (self.chance.random() < 0.3)):
            self.context.bus.publish(claim.topic, claim.key, claim.to_bytes())
            self.did["messages of rows"] += 1
        self.asked.append(claim)
        self.did["spoilt rows"] += spoilt

    def roll_back(self) -> None:
        """The champion before this one, where there is one."""
        try:
            rollback(self.context.store, self.context.bus, self.context.clock, self.chance.choice(SCOPES), "a customer")
        except UsageError:
            return
        self.did["rollbacks"] += 1


def _spec(models: tuple[str, ...], tables: Mapping[str, Any]) -> Spec:
    return small_spec(models, **tables)
