"""Every family of FLTS passes the conformance test of flts.testing; the Spec, the registry and the families agree."""

from __future__ import annotations

import pytest
from tests.support.families import FAMILIES, SMALL
from tests.support.raising import raises

from flts.contracts.errors import MissingExtra, UsageError
from flts.models.autoarima import AutoArima
from flts.models.autoets import AutoEts
from flts.models.automfles import AutoMfles
from flts.models.autotbats import AutoTbats
from flts.models.autotheta import AutoTheta
from flts.models.gbm import Gbm
from flts.models.naive import Naive, SeasonalNaive
from flts.models.prophet import Prophet
from flts.models.recurrent import GRU, LSTM
from flts.models.registry import BASELINES, BUILT_IN, CANDIDATES, require
from flts.models.ridge import Ridge
from flts.spec import installed
from flts.spec.models import DEFAULT_MODELS, ENSEMBLE, Models
from flts.spec.table import table_in
from flts.testing import FamilyConformance, ModelConformance

LEARNS = {"epochs": 40, "learning_rate": 0.02}


class TestGru(ModelConformance):
    family = GRU
    small = SMALL["gru"]
    thorough = LEARNS


class TestLstm(ModelConformance):
    family = LSTM
    small = SMALL["lstm"]
    thorough = LEARNS


class TestProphet(ModelConformance):
    family = Prophet()


class TestAutoMfles(ModelConformance):
    family = AutoMfles()


class TestAutoArima(ModelConformance):
    family = AutoArima()
    small = SMALL["autoarima"]


class TestAutoEts(ModelConformance):
    family = AutoEts()


class TestAutoTbats(ModelConformance):
    family = AutoTbats()
    small = SMALL["autotbats"]


class TestAutoTheta(ModelConformance):
    family = AutoTheta()


class TestRidge(ModelConformance):
    family = Ridge()


class TestGbm(ModelConformance):
    family = Gbm()


class TestNaive(FamilyConformance):
    family = Naive()


class TestSeasonalNaive(FamilyConformance):
    family = SeasonalNaive()
    watched_row = 24  # the row one season before the first step


def test_every_family_is_tested_above() -> None:
    kinds = [kind for kind in globals().values() if isinstance(kind, type) and hasattr(kind, "family")]
    assert sorted(kind.family.name for kind in kinds) == sorted(FAMILIES)
    assert {kind.family.name for kind in kinds if issubclass(kind, ModelConformance)} == {*BUILT_IN}


def test_every_model_of_the_spec_has_a_family_of_that_name_with_its_parameters() -> None:
    assert {*BUILT_IN} == {*Models.model_fields} - {ENSEMBLE}
    assert {*BUILT_IN} <= {*CANDIDATES}
    assert {*DEFAULT_MODELS} <= {*Models.model_fields}
    assert all(family.name == name for name, family in FAMILIES.items())
    for name, family in BUILT_IN.items():
        assert table_in(Models.model_fields[name].annotation) is family.parameters


def test_a_baseline_is_not_a_candidate_and_the_names_of_both_are_reserved() -> None:
    assert not {*CANDIDATES} & {*BASELINES}
    assert installed.built_in() == {*BUILT_IN, *BASELINES, ENSEMBLE}


def test_requiring_a_model_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    require(["ridge"])
    with pytest.raises(MissingExtra) as caught:
        require(["ridge", "prophet"])
    assert caught.value.extra == "prophet"


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with raises(UsageError, code="unknown-model", model="rigde") as caught:
        require(["rigde"])
    assert "did you mean 'ridge'" in str(caught.value)
