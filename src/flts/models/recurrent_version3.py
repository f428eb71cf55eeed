"""Networks as version 3 wrote them, added to a baseline: bundles of that version answer as they were judged."""

from __future__ import annotations

from collections.abc import Sequence

from flts.models.base import ForecastTask
from flts.models.recurrent_graph import Node, Shapes, cell_nodes, cell_shapes, layers_of


def wrote(found: Shapes) -> bool:
    """Whether a graph with these tensors is of version 3."""
    return "anchor_rows" in found


def expected(cell: str, found: Shapes, task: ForecastTask) -> tuple[Sequence[Node], Shapes]:
    """What version 3 wrote for this task. The number of hidden states, layers and features is as found."""
    layers, outputs = layers_of(found, "w_"), task.horizon * task.targets
    hidden, features = (*found.get("head_weight", ()), 0, 0)[1], (*found.get("w_0", ()), 0, 0, 0)[2]
    shapes = {
        "head_weight": (outputs, hidden),
        "head_bias": (outputs,),
        "anchor_rows": (task.horizon,),
        "anchor_columns": (task.targets,),
        "anchor_factor": (task.targets,),
        "anchor_shift": (task.targets,),
        **cell_shapes(cell, layers, hidden, features),
    }
    nodes: list[Node] = [
        *cell_nodes(cell, layers, hidden, "history"),
        ("Gemm", ["state", "head_weight", "head_bias"], ["learned"], {"transB": 1}),
        ("Gather", ["history", "anchor_rows"], ["newest"], {"axis": 1}),
        ("Gather", ["newest", "anchor_columns"], ["past"], {"axis": 2}),
        ("Mul", ["past", "anchor_factor"], ["stretched"], {}),
        ("Add", ["stretched", "anchor_shift"], ["naive"], {}),
        ("Flatten", ["naive"], ["anchor"], {}),
        ("Add", ["learned", "anchor"], ["forecast"], {}),
    ]
    return nodes, shapes
