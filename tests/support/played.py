"""Pods of the chart as `podman kube play` takes them: what a cluster adds is written in, images are replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.support.charts import Manifest, containers, pods

NODE = "node-1"
LEFT_OUT = ("startupProbe", "livenessProbe", "readinessProbe", "resources", "ports")
"""Of a container: podman without systemd runs no probes, and it would publish ports on this machine."""
KEPT = ("securityContext", "terminationGracePeriodSeconds", "initContainers", "containers")
"""Of the spec of a pod."""


@dataclass(frozen=True)
class StandIn:
    """What runs in place of a container whose image cannot be pulled.

    user: of the image; command: of its server, None leaves that of the chart.
    """

    image: str
    user: int
    command: Sequence[str] | None = None


@dataclass(frozen=True)
class Cluster:
    """What the pods find. images: stand-ins by a part of the reference; flts: its image; secret: its keys."""

    objects: Sequence[Manifest]
    images: Mapping[str, StandIn]
    flts: str
    secret: Mapping[str, str]

    def played(self) -> dict[str, list[Manifest]]:
        """Documents of each pod, by the name of the Service in front of it; a Job has its name without the digest."""
        found = {}
        for owner, template in pods(self.objects):
            name = owner["metadata"]["name"]
            if owner["kind"] == "Job":
                name = name.rpartition("-")[0]
            found[name] = [*self._documents(name, owner, deepcopy(dict(template["spec"])))]
        return found

    def _documents(self, name: str, owner: Manifest, spec: dict[str, Any]) -> Iterator[Manifest]:
        """A ConfigMap for each of its volumes that has files, as podman has one list of all volumes, and the pod."""
        claims = [{"name": one["metadata"]["name"]} for one in owner["spec"].get("volumeClaimTemplates", [])]
        volumes = []
        for volume in [*spec.get("volumes", []), *claims]:
            own, files = f"{name}-{volume['name']}", self._files(volume)
            volumes.append({"name": own, **({"configMap": {"name": own}} if files else {"emptyDir": {}})})
            if files:
                yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": own}, "data": files}
        for container in containers({"spec": spec}):
            self._replace(name, container)
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": {"io.podman.annotations.init.container.type": "always"}},
            # what ends stays so, and can be seen
            "spec": {key: spec[key] for key in KEPT if key in spec}
            | {"volumes": volumes, "hostname": name, "restartPolicy": "Never"},
        }

    def _files(self, volume: Manifest) -> Mapping[str, str]:
        match volume:
            case {"configMap": {"name": source}}:
                data: Mapping[str, str] = next(
                    one["data"]
                    for one in self.objects
                    if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", source)
                )
                return data
            case {"secret": {"items": items}}:
                return {one["path"]: self.secret[one["key"]] for one in items}
        return {}

    def _replace(self, pod: str, container: Any) -> None:
        for part in LEFT_OUT:
            container.pop(part, None)
        for mount in container.get("volumeMounts", []):
            mount["name"] = f"{pod}-{mount['name']}"
        instead = next((found for part, found in self.images.items() if part in container["image"]), None)
        container |= {"image": instead.image if instead else self.flts, "imagePullPolicy": "Never"}
        container["env"] = list(_expanded([self._literal(pod, one) for one in container["env"]]))
        container["args"] = [_with(variables(container["env"]), word) for word in container.get("args", [])]
        if instead is not None:
            container["securityContext"]["runAsUser"] = instead.user
            if instead.command is not None and container["name"] != "wait":
                container |= {"command": list(instead.command), "args": []}

    def _literal(self, pod: str, variable: Manifest) -> Manifest:
        """The downward API and Secrets, which podman has in parts, as a node fills them in."""
        match variable:
            case {"name": name, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}:
                return {"name": name, "value": NODE}
            case {"name": name, "valueFrom": {"fieldRef": _}}:
                return {"name": name, "value": pod}
            case {"name": name, "valueFrom": {"secretKeyRef": {"key": key}}}:
                return {"name": name, "value": self.secret[key]}
        return variable


def variables(env: Sequence[Manifest]) -> dict[str, str]:
    """The variables of a container by name."""
    return {one["name"]: one["value"] for one in env}


def _expanded(env: Sequence[Manifest]) -> Iterator[Manifest]:
    """With $(NAME) replaced by the variables before, as a node does and podman does not."""
    known: dict[str, str] = {}
    for one in env:
        known[one["name"]] = _with(known, one["value"])
        yield {"name": one["name"], "value": known[one["name"]]}


def _with(known: Mapping[str, str], text: str) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: known.get(found[1], found[0]), text)
