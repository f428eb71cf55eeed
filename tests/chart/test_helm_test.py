"""The pod of `helm test`: what it is told follows from what the release trains and serves."""

from __future__ import annotations

import pytest
from tests.support import ROOT
from tests.support.charts import API, Helm, kinds, named

from flts.deploy.smoke import ROWS, SCOPE, experiment


def told(helm: Helm, *arguments: str) -> dict[str, str]:
    """The options of its command."""
    [container] = named(helm.render(*arguments), "Pod", "flts-test")["spec"]["containers"]
    words = container["args"]
    assert words[:2] == ["deploy", "smoke"]
    return {"file": words[2], **dict(zip(words[3::2], words[4::2], strict=True))}


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        ((), "gru,ridge"),
        (("--values", "values-dev.yaml"), "gru,ridge"),
        (("--values", "values-seed.yaml"), "gru"),
        (("--set", "spec.models.lstm.epochs=2"), "lstm"),
    ],
    ids=str,
)
def test_it_runs_ridge_and_gru_where_they_are_trained(helm: Helm, arguments: tuple[str, ...], models: str) -> None:
    assert told(helm, *arguments)["--models"] == models


def test_it_asks_the_forecast_service_where_that_answers_for_its_scope(helm: Helm) -> None:
    assert told(helm)["--url"] == "http://flts-serve:8000"
    assert told(helm, "--set", "serve.service.port=80,serve.tlsSecret=cert")["--url"] == "https://flts-serve:80"
    assert told(helm, "--set", f"serve.scopes={{jfk,{SCOPE}}}")["--url"] == "http://flts-serve:8000"
    assert "--url" not in told(helm, "--set", "serve.scopes={jfk}")
    assert "--url" not in told(helm, "--set", "serve.enabled=false")


def test_it_is_let_in_where_only_some_may_ask_the_forecast_service(helm: Helm) -> None:
    some = '[{"podSelector":{"matchLabels":{"app":"shop"}}}]'
    objects = helm.render(*API, "--set-json", f"networkPolicy.from.serve={some}")
    [rule] = named(objects, "NetworkPolicy", "flts-serve-ingress")["spec"]["ingress"]
    let_in = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    pod = named(objects, "Pod", "flts-test")["metadata"]["labels"]
    assert [labels.items() <= pod.items() for labels in let_in] == [False, True]
    without = helm.render(*API, "--set", "test.enabled=false", "--set-json", f"networkPolicy.from.serve={some}")
    assert "test" not in {component for _, component in kinds(without)}
    [rule] = named(without, "NetworkPolicy", "flts-serve-ingress")["spec"]["ingress"]
    assert len(rule["from"]) == 1


def test_its_experiment_is_the_first_rows_of_the_example_in_a_scope_of_its_own(helm: Helm) -> None:
    file = told(helm)["file"]
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert f"COPY examples/jfk-departures {file.rpartition('/')[0]}\n" in dockerfile
    spec = experiment(ROOT / "examples/jfk-departures/flts.toml", ["gru", "ridge"]).spec
    assert (spec.dataset.scope, sorted(spec.expected)) == (SCOPE, ["gru", "ridge"])
    assert (spec.sample.train_rows, spec.sample.test_rows, spec.sample.strategy) == (ROWS, ROWS, "head")
