"""The chart lints, and what it renders is valid on every Kubernetes it names."""

from __future__ import annotations

import warnings

import pytest
from tests.support.charts import API, RUN, VALUES, Helm

from flts.version import __version__

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes_validate

EVERYTHING = (
    *RUN,
    *API,
    *("--set", "preprocess.cronJob.enabled=true", "--set", "serve.autoscaling.enabled=true"),
    *("--set", "gateway.autoscaling.enabled=true", "--set", "serve.ingress.enabled=true"),
    *("--set", "serve.ingress.tlsSecret=tls", "--set", "evaluate.replicas=2"),
    *("--set", "trainers.autoscaling.enabled=true", "--set", "trainers.autoscaling.authentication=kafka"),
    *("--set", "monitoring.enabled=true,load.enabled=true"),
    *("--set", "networkPolicy.from.metrics[0].podSelector.matchLabels.app=prometheus"),
)
"""Every part that is off by default."""
FOREIGN = {"PrometheusRule", "ScaledJob", "ScaledObject", "ServiceMonitor"}
"""Kinds that Kubernetes does not bring; test_scaling and test_monitoring look at them."""


@pytest.mark.parametrize("values", VALUES)
def test_every_file_of_values_lints(helm: Helm, values: str) -> None:
    done = helm.call("lint", "--strict", ".", "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.36"])
@pytest.mark.parametrize("arguments", [*(("--values", name) for name in VALUES), EVERYTHING], ids=str)
def test_every_object_is_valid_and_of_a_known_kind(helm: Helm, version: str, arguments: tuple[str, ...]) -> None:
    objects = [one for one in helm.render(*arguments) if one["kind"] not in FOREIGN]
    assert len(objects) > 10
    for one in objects:
        # it raises for a wrong field, for an unknown one, and for a kind that it has no schema of
        kubernetes_validate.validate(one, version, strict=True)


def test_an_unknown_kind_and_an_unknown_field_are_noticed() -> None:
    good = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}}
    kubernetes_validate.validate(good, "1.36", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(good | {"daat": {}}, "1.36", strict=True)
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(good | {"kind": "Unknown"}, "1.36", strict=True)


def test_the_chart_is_of_this_version(helm: Helm) -> None:
    shown = helm.call("show", "chart", ".").stdout
    assert f"appVersion: {__version__}\n" in shown
