"""Families of other distributions: their own parameters, import on demand, and refusals that name the package."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.distributions import MEAN, Site
from tests.support.distributions import site as site  # noqa: PLC0414 - a fixture
from tests.support.raising import raises

from flts.contracts.errors import MissingPackage, SpecError, UsageError
from flts.doctor.here import packages
from flts.models.registry import BUILT_IN, CANDIDATES, package_of, require, versions
from flts.spec.fields import Spec
from flts.spec.installed import discover, installed_families
from flts.spec.lineage import identify, moves
from flts.spec.models import DEFAULT_MODELS, Models
from flts.spec.sources import json_schema, load_spec, validate


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = {*sys.modules}
    discover.cache_clear()
    yield
    discover.cache_clear()
    for name in {*sys.modules} - before:
        if name.startswith("other_"):
            del sys.modules[name]


@pytest.fixture
def mean(site: Site) -> Site:
    """A site with the family `mean`."""
    site.install("flts-mean", "1.2", {"mean": "other_mean:Mean"}, other_mean=MEAN)
    return site


def model_hash(spec: Spec, name: str = "mean") -> str:
    return identify(spec, "0" * 64, versions(1, 1, 1)).model_hashes[name]


@pytest.mark.usefixtures("mean")
def test_a_table_of_an_installed_family_is_read_by_its_own_parameters() -> None:
    spec = validate({"models": {"mean": {"weight": 2}, "ridge": {}}})
    assert sorted(spec.expected) == ["mean", "ridge"]
    assert type(spec.expected["mean"]).__name__ == "Parameters"
    assert spec.identity()["models"] == {"mean": {"weight": 2.0}, "ridge": {"alphas": spec.models.ridge.alphas}}  # type: ignore[union-attr]
    assert validate(spec.identity()).identity() == spec.identity()
    assert validate(spec.model_dump(exclude_none=True)) == spec
    assert moves(spec)["models.mean.weight"] == ("model_hash(mean)", "config_hash")


@pytest.mark.usefixtures("mean")
def test_an_installed_family_is_expected_only_where_it_is_named() -> None:
    assert sorted(validate({}).expected) == sorted(DEFAULT_MODELS)
    assert sorted(validate({"models": {"mean": None}}).expected) == sorted(DEFAULT_MODELS)
    assert type(validate({}).models) is Models


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mean": {"wieght": 1}}, "unknown key 'models.mean.wieght'; did you mean 'weight'?"),
        ({"mean": {"weight": "x"}}, "models.mean.weight: Input should be a valid number"),
        ({"meen": {}}, "unknown key 'models.meen'; did you mean 'mean'?"),
        ({"mean": 3}, "models.mean"),
    ],
)
@pytest.mark.usefixtures("mean")
def test_faults_are_reported_as_for_a_built_in_model(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate({"models": values})
    assert reason in str(caught.value)


@pytest.mark.usefixtures("mean")
def test_faults_of_built_in_and_installed_models_are_reported_together() -> None:
    with pytest.raises(SpecError) as caught:
        validate({"models": {"mean": {"weight": "x"}, "ridge": {"alphas": []}, "gruu": {}}})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.usefixtures("mean")
def test_flags_and_the_environment_reach_the_table(tmp_path: Path) -> None:
    file = tmp_path / "flts.toml"
    file.write_text("[models.mean]\nweight = 2\n[models.ridge]\n")
    loaded = load_spec(file, environ={"FLTS_SPEC__MODELS__MEAN__WEIGHT": "3"}, models=["mean"])
    assert {name: table.model_dump() for name, table in loaded.spec.expected.items()} == {"mean": {"weight": 3.0}}
    assert loaded.origins["models.mean.weight"] == "environment FLTS_SPEC__MODELS__MEAN__WEIGHT"
    with raises(SpecError, code="model-unknown", found="meen") as raised:
        load_spec(file, models=["meen"])
    assert "did you mean 'mean'" in str(raised.value)


@pytest.mark.usefixtures("mean")
def test_the_schema_describes_the_table_and_is_otherwise_that_of_the_spec() -> None:
    schema, plain = json_schema(), Spec.model_json_schema()
    mean = schema["$defs"]["Models"]["properties"].pop("mean")
    del schema["$defs"][mean["anyOf"][0]["$ref"].rpartition("/")[2]]
    assert "flts-mean 1.2" in mean["description"]
    assert schema == plain


def test_the_distribution_and_its_version_are_part_of_the_model_hash(site: Site) -> None:
    site.install("flts-mean", "1.2", {"mean": "other_mean:Mean"}, other_mean=MEAN)
    spec = validate({"models": {"mean": {}, "ridge": {}}})
    assert versions(1, 1, 1).models["mean"] == {"code": 3, "package": "flts-mean", "release": "1.2"}
    first, ridge = model_hash(spec), model_hash(spec, "ridge")
    (site.folder / "flts_mean-1.2.dist-info").rename(site.folder / "gone")
    site.install("flts-mean", "1.3", {"mean": "other_mean:Mean"})
    assert model_hash(spec) != first
    assert model_hash(spec, "ridge") == ridge
    assert versions(1, 1, 1).models["ridge"] == BUILT_IN["ridge"].version


def test_a_family_is_imported_only_where_it_is_asked_for(mean: Site) -> None:
    assert "mean" in CANDIDATES
    assert installed_families()["mean"].package == "flts-mean"
    assert package_of("mean") == {"package": "flts-mean", "release": "1.2"}
    validate({"models": {"ridge": {}}})
    require(["ridge"])
    assert "other_mean" not in sys.modules
    assert CANDIDATES["mean"] is CANDIDATES["mean"]
    assert "other_mean" in sys.modules


BROKEN = {
    "import": ("raise ImportError('no such thing')", "ImportError: no such thing"),
    "crash": ("1 / 0", "ZeroDivisionError: division by zero"),
    "absent": ("", "AttributeError"),
    "shape": ("class Mean: name = 'mean'", "lacks parameters, version"),
    "name": (MEAN.replace('name = "mean"', 'name = "median"'), "its name is 'median'"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_family_fails_only_where_it_is_used_and_names_its_distribution(site: Site, fault: str) -> None:
    source, reason = BROKEN[fault]
    site.install("flts-mean", "0.1", {"mean": "other_mean:Mean"}, other_mean=source)
    assert list(validate({"models": {"ridge": {}}}).expected) == ["ridge"]
    require(["ridge"])
    with raises(UsageError, code="family-broken", model="mean", package="flts-mean", version="0.1") as caught:
        require(["mean"])
    assert reason in str(caught.value)
    if fault != "name":  # its parameters can be read
        with raises(UsageError, code="family-broken", model="mean"):
            validate({"models": {"mean": {}}})
        assert "flts-mean 0.1 cannot be loaded" in json_schema()["$defs"]["Models"]["properties"]["mean"]["description"]


def test_a_library_that_a_family_needs_and_lacks_is_named(site: Site) -> None:
    source = MEAN.replace("libraries = ()", "libraries = ('json', 'no_such_library')")
    site.install("flts-mean", "1", {"mean": "other_mean:Mean"}, other_mean=source)
    with pytest.raises(MissingPackage) as caught:
        require(["mean"])
    assert caught.value.package == "no_such_library"


def test_the_name_of_a_built_in_model_cannot_be_taken(site: Site) -> None:
    site.install("flts-mean", "1", {"ridge": "other_mean:Mean", "naive": "other_mean:Mean"}, other_mean=MEAN)
    assert CANDIDATES["ridge"] is BUILT_IN["ridge"]
    assert not {"ridge", "naive"} & {*installed_families()}
    assert discover().refused == (
        "flts-mean 1: 'naive' is the name of a built-in model, which is used instead",
        "flts-mean 1: 'ridge' is the name of a built-in model, which is used instead",
    )


def test_the_doctor_lists_installed_families_and_says_which_cannot_be_used(mean: Site) -> None:
    mean.install("flts-odd", "2", {"odd": "other_odd:Odd", "ridge": "other_odd:Odd"}, other_odd="1 / 0")
    results = [(diagnosis.state, diagnosis.found) for diagnosis in packages()]
    assert results[0] == ("warning", "flts-odd 2: 'ridge' is the name of a built-in model, which is used instead")
    assert results[1] == ("ok", "'mean' comes from flts-mean 1.2")
    assert results[2][0] == "warning"
    assert "flts-odd 2 cannot be loaded" in results[2][1]


def test_an_error_about_a_package_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(MissingPackage("the model 'mean'", "flts-mean", "1.2")))  # noqa: S301 - our own
    assert error.package == "flts-mean"
    assert str(error) == "the model 'mean' needs the package 'flts-mean': pip install 'flts-mean==1.2'"


def test_a_name_that_two_distributions_bring_is_not_used(site: Site) -> None:
    for package in ("flts-a", "flts-b"):
        site.install(package, "1", {"mean": "other_mean:Mean"}, other_mean=MEAN)
    assert "mean" not in CANDIDATES
    (reason,) = discover().refused
    assert reason.startswith("flts-a 1 and flts-b 1 both bring a model 'mean'")


@pytest.mark.parametrize("name", ["Mean", "a.b", "a-b", "two__words", "x" * 41, "1st"])
def test_an_invalid_name_is_refused(site: Site, name: str) -> None:
    site.install("flts-mean", "1", {name: "other_mean:Mean"}, other_mean=MEAN)
    assert not installed_families()
    assert "invalid model name" in discover().refused[0]
