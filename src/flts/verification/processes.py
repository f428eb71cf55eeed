"""The processes that did the work: the pods of a cluster, whether they are ready, and how often they were restarted."""

from __future__ import annotations

from collections.abc import Callable

from flts.verification.claims import FALSE, Check, Found, SectionChecks, absent, recorded
from flts.verification.evidence import RunEvidence
from flts.verification.outside import Pods, PodState

NO_PODS = "no pods were named: kubectl get pods -o json > pods.json, and --pods pods.json"
ENDED = "Succeeded"


def processes(evidence: RunEvidence) -> SectionChecks:
    """Claims about the pods."""
    due = bool(evidence.deployment.get("release"))

    def claim(name: str, says: str, look: Callable[[Pods], Found]) -> Check:
        def look_at(evidence: RunEvidence) -> Found:
            pods = evidence.outside.pods
            if pods is None:
                return absent(NO_PODS)
            evidence.note(pods.source, pods.sha256)
            return look(pods)

        return Check(f"pods.{name}", says, look_at, due=due)

    checks = [
        claim("ready", "Every pod is ready or has ended well", _ready),
        claim(
            "restarts", "The pods say how often they were restarted", lambda p: recorded(sum(map(_restarts, p.pods)))
        ),
    ]
    return SectionChecks("pods", "Processes", checks, "--pods FILE")


def _restarts(pod: PodState) -> int:
    return pod.restarts


def _ready(pods: Pods) -> Found:
    late = [pod.name for pod in pods.pods if pod.phase != ENDED and pod.ready < pod.containers]
    if late:
        return Found(FALSE, 0, len(late), f"not ready in {pods.source}: {', '.join(late)}")
    return recorded(len(pods.pods))
