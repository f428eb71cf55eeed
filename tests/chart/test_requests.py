"""What pods ask for: it fits on a small node, and values change all of it."""

from __future__ import annotations

import pytest
import yaml
from tests.support.charts import CHART, RUN, Helm, Manifest, containers, pods


@pytest.mark.parametrize("values", ["values-dev.yaml", "values-seed.yaml"])
def test_all_of_a_development_release_fits_on_a_node_of_four_cores_and_eight_gibibytes(helm: Helm, values: str) -> None:
    def total(of: list[Manifest]) -> tuple[int, int]:
        """Millicores and mebibytes that one pod of each of these asks for."""
        asked = [max((millicores(each), mebibytes(each)) for each in containers(template)) for _, template in pods(of)]
        return sum(cpu for cpu, _ in asked), sum(memory for _, memory in asked)

    def millicores(container: Manifest) -> int:
        text = container["resources"]["requests"]["cpu"]
        return int(text[:-1]) if text.endswith("m") else 1000 * int(text)

    def mebibytes(container: Manifest) -> int:
        text = container["resources"]["requests"]["memory"]
        return int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]

    objects = helm.render("--values", values)
    ends = [one for one in objects if one["kind"] in {"Job", "Pod"}]
    cpu, memory = total(objects)
    most, _ = total(ends)
    assert (cpu - most, most) == (2000, 450), "the files of values and docs/kubernetes.md say so"
    assert memory <= 6.5 * 1024


def test_every_request_and_limit_can_be_changed(helm: Helm) -> None:
    # a LimitRange may refuse what no value reaches
    tables = [
        key
        for key, value in yaml.safe_load((CHART / "values.yaml").read_text()).items()
        if "resources" in (value or "")
    ]
    wanted = [f"{key}.resources.{part}.memory=321Mi" for key in tables for part in ("requests", "limits")]
    rendered = pods(helm.render(*RUN, "--set", ",".join(wanted)))
    for where, container in (
        (one["metadata"]["name"], each) for one, template in rendered for each in containers(template)
    ):
        memory = {container["resources"][part]["memory"] for part in ("requests", "limits")}
        assert memory == {"321Mi"}, where
