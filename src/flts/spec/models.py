"""The tables of the models: the parameters of each family, and which families an experiment may name."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, field_validator

from flts.spec.installed import InstalledFamily, installed_families
from flts.spec.search import MAY_BE_GRID, Searched
from flts.spec.table import Positive, Table

ENSEMBLE = "ensemble"
"""The candidate that no trainer fits: the judge makes it of the others."""
FEWEST_MEMBERS = 2
"""Models with a result that an ensemble needs."""
EPOCHS = "epochs"
"""The parameter of a family that stops early: train.patience counts for the models whose table holds it."""


class RecurrentParameters(Table):
    """A recurrent network: window → last state → linear map, beside a linear map of the window."""

    looks_ahead: ClassVar[bool] = True

    hidden_size: Positive = 64
    """Size of the hidden state."""
    num_layers: Positive = 1
    """Stacked layers."""
    epochs: Annotated[int, Field(ge=0)] = 0
    """Maximum passes over the train windows; 0: ten times as many as make 150 updates, at least one."""
    batch_size: Positive = 64
    """Windows per step of the optimizer."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    """First step size of Adam; it falls to zero over the epochs, by a cosine."""


class GruParameters(RecurrentParameters):
    """Gated recurrent unit (Cho et al. 2014)."""


class LstmParameters(RecurrentParameters):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""


class ProphetParameters(Table):
    """Trend and seasonality by date (Taylor and Letham 2018); history only says where the forecast starts."""

    looks_ahead: ClassVar[bool] = True

    changepoint_prior_scale: Annotated[float, Field(gt=0.0)] = 0.05
    """Flexibility of the trend."""
    seasonality_prior_scale: Annotated[float, Field(gt=0.0)] = 10.0
    """Flexibility of the seasonality."""
    seasonality_mode: Literal["additive", "multiplicative"] = "additive"
    """How seasonality joins the trend."""


class AutoMflesParameters(Table):
    """Gradient-boosted trend and seasonality, refitted on the history of every request (Blume, MFLES)."""

    validation_windows: Positive = 2
    """Windows of each tenth of the validation windows by which the seasons that count are chosen, once."""


MOST_ORDER = 5
"""Limit of the orders of `[models.autoarima]`."""
Order = Annotated[int, Field(ge=0, le=MOST_ORDER)]


class AutoArimaParameters(Table):
    """Autoregression of differences with moving averages, orders chosen by AICc (Hyndman and Khandakar 2008)."""

    max_p: Order = 3
    """Values back at most."""
    max_q: Order = 2
    """Errors back at most."""
    max_seasonal_p: Order = 1
    """The same, in whole seasons."""
    max_seasonal_q: Order = 1
    """The same, in whole seasons."""
    approximation: bool = True
    """Compare orders by the conditional sum of squares; 'false' takes minutes where a season has 24 rows."""


class AutoEtsParameters(Table):
    """Exponential smoothing of level, trend and season, chosen by AICc (Hyndman and Khandakar 2008)."""


class AutoTbatsParameters(Table):
    """Several seasons as sines, with exponential smoothing (De Livera et al. 2011)."""

    arma_errors: bool = True
    """Try errors that depend on earlier ones, too; a fit takes ten times as long."""


class AutoThetaParameters(Table):
    """A line and its smoothed bend, chosen by the error (Assimakopoulos and Nikolopoulos 2000)."""


class RidgeParameters(Table):
    """Linear map of the window with a squared penalty (Hoerl and Kennard 1970)."""

    looks_ahead: ClassVar[bool] = True

    alphas: Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=1)] = [
        1e-3,
        1e-2,
        1e-1,
        1.0,
        1e1,
        1e2,
        1e3,
    ]
    """Penalties to choose from by the validation loss; the larger one on a tie."""

    @field_validator("alphas")
    @classmethod
    def _ascending(cls, value: list[float]) -> list[float]:
        return sorted(set(value))


MOST_LEAVES, MOST_TREES = 1_024, 10_000
"""Limits of `[models.gbm]`, so that a model file has an end."""


class GbmParameters(Table):
    """Gradient-boosted regression trees of lags, phase and calendar; one model for all steps (Ke et al. 2017)."""

    looks_ahead: ClassVar[bool] = True

    rounds: Annotated[int, Field(gt=0, le=MOST_TREES)] = 500
    """Trees at most; the validation windows choose how many."""
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Share of each tree that counts."""
    leaves: Annotated[int, Field(ge=2, le=MOST_LEAVES)] = 31
    """Leaves of a tree at most."""


class EnsembleParameters(Table):
    """The weighted mean of every other model of the experiment that has a result (Caruana et al. 2004).

    With fewer than 100 common validation windows, the mean of the three models with the lowest composite scores on
    them; from 100 on, weights by 50 greedy draws on their first half.
    """


class Models(Table):
    """The candidates. Each table, even an empty one, makes its model a candidate; without tables, all of these are."""

    gru: Searched[GruParameters] | None = None
    """Recurrent network, extra 'torch'."""
    lstm: Searched[LstmParameters] | None = None
    """Recurrent network, extra 'torch'."""
    prophet: Searched[ProphetParameters] | None = None
    """Trend and seasonality, extra 'prophet'."""
    automfles: Searched[AutoMflesParameters] | None = None
    """Boosted trend and seasonality, extra 'stats'."""
    autoarima: Searched[AutoArimaParameters] | None = None
    """Autoregression of differences, extra 'stats'; only when named."""
    autoets: Searched[AutoEtsParameters] | None = None
    """Exponential smoothing, extra 'stats'; only when named."""
    autotbats: Searched[AutoTbatsParameters] | None = None
    """Several seasons as sines, extra 'stats'; only when named."""
    autotheta: Searched[AutoThetaParameters] | None = None
    """Theta method, extra 'stats'; only when named."""
    ridge: Searched[RidgeParameters] | None = None
    """Linear map, nothing to install."""
    gbm: Searched[GbmParameters] | None = None
    """Boosted trees, extra 'gbm'."""
    ensemble: EnsembleParameters | None = None
    """Weighted mean of all other models here; it needs at least two of them, and no trainer."""


DEFAULT_MODELS = ("gru", "lstm", "prophet", "automfles", "ridge", "gbm", ENSEMBLE)


def models_with(names: Iterable[str]) -> type[Models]:
    """The candidates with these families of other distributions, each table read by the family's own parameters.

    Raises UsageError for a family that cannot be loaded.
    """
    families = installed_families()
    extended = tuple((families[name], parameters_of(families[name])) for name in sorted(names))
    return _extended(extended) if extended else Models


def parameters_of(family: InstalledFamily) -> type[Table]:
    """The type of this family's table. Raises UsageError for a family that cannot be loaded."""
    parameters = getattr(family.loaded, "parameters", None)
    if isinstance(parameters, type) and issubclass(parameters, Table):
        return parameters
    raise family.broken("its `parameters` must be a class derived from flts.spec.fields.Table")


@functools.cache
def _extended(tables: tuple[tuple[InstalledFamily, type[Table]], ...]) -> type[Models]:
    fields: dict[str, Any] = {
        family.name: (
            Annotated[table, MAY_BE_GRID] | None,
            Field(default=None, description=f"Brought by {family.package} {family.version}."),
        )
        for family, table in tables
    }
    return create_model("Models", __base__=Models, __doc__=Models.__doc__, **fields)
