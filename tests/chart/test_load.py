"""The Job that loads the forecast service runs the file of compose.yaml, on rows that the image of FLTS holds."""

from __future__ import annotations

import re

from tests.deploy.test_compose import SERVICE
from tests.support import ROOT
from tests.support.charts import API, Helm, named

FILE = ROOT / "deploy/locustfile.py"
ON = ("--set", "load.enabled=true,load.scenario=spike,load.rate=50,load.seconds=30,load.scope=load")


def test_it_runs_the_file_of_compose_with_the_options_that_the_file_has(helm: Helm) -> None:
    objects = helm.render(*ON)
    job, config = named(objects, "Job", "flts-load"), named(objects, "ConfigMap", "flts-load")
    assert config["data"]["locustfile.py"].rstrip() == FILE.read_text().rstrip()
    assert any(mount.startswith("./locustfile.py:") for mount in SERVICE["locust"]["volumes"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == SERVICE["locust"]["image"]
    sent = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"] if "=" in argument)
    own = set(re.findall(r'add_argument\("--([\w-]+)"', FILE.read_text()))
    assert set(sent) - own == {"locustfile", "host"}
    assert (sent["scenario"], sent["rate"], sent["seconds"], sent["scope"]) == ("spike", "50", "30", "load")
    assert sent["host"] == "http://flts-serve:8000"
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert all(any(sent[name].startswith(f"{at}/") for at in mounted) for name in ("locustfile", "rows", "token-file"))
    (rows,) = job["spec"]["template"]["spec"]["initContainers"]
    assert rows["command"][1].removeprefix("/usr/share/flts/") in {
        str(file.relative_to(ROOT / "examples")) for file in (ROOT / "examples/jfk-departures").iterdir()
    }


def test_it_may_reach_the_forecast_service_and_nothing_else(helm: Helm) -> None:
    objects = helm.render(
        *ON, *API, "--set-json", 'networkPolicy.from.serve=[{"podSelector":{"matchLabels":{"a":"b"}}}]'
    )
    egress = named(objects, "NetworkPolicy", "flts-load-egress")["spec"]["egress"]
    reached = [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for edge in egress[1:] for peer in edge["to"]
    ]
    assert reached == ["serve"]
    (rule,) = named(objects, "NetworkPolicy", "flts-serve-ingress")["spec"]["ingress"]
    peers = [peer["podSelector"]["matchLabels"].get("app.kubernetes.io/component") for peer in rule["from"]]
    assert "load" in peers


def test_without_a_forecast_service_it_is_refused(helm: Helm) -> None:
    assert "load.enabled: the release has no forecast service" in helm.refused(*ON, "--set", "serve.enabled=false")
