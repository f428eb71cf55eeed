"""A loss curve shows every epoch, which one was kept, and its words lie inside the picture."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.pictures import line, margin, panels, values

from flts.drawing.training import loss_curve

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("curve", "kept"),
    [
        ([(1.0, 2.0), (0.5, 1.5), (0.25, 1.6)], "kept: epoch 2, 1.5"),
        ([(0.1, 0.1)], "kept: epoch 1, 0.1"),
        ([(0.0, 0.0), (0.0, 0.0)], "kept: epoch 1, 0"),
        ([(0.011, 0.0072), (0.0095, 0.006825)], "kept: epoch 2, 0.006825"),
        ([(1.0, 0.0), (0.5, 1e-12)], "kept: epoch 1, 0"),
        ([(1e-38, 1e38), (1e38, 1e-38)], "kept: epoch 2, 1e-38"),
        ([[float(n + 1), float(n + 1)] for n in range(500)], "kept: epoch 1, 1"),
    ],
    ids=["usual", "one epoch", "nothing but zeros", "small", "a zero", "enormous", "five hundred epochs"],
)
def test_every_epoch_is_drawn_and_the_kept_one_is_named(curve: Any, kept: str) -> None:
    picture = loss_curve(curve, title="gru")
    (axes,) = panels(picture)
    assert values(axes, "train").tolist() == [train for train, _ in curve]
    assert values(axes, "validation").tolist() == [validation for _, validation in curve]
    assert values(axes, kept).tolist() == [min(validation for _, validation in curve)]
    assert line(axes, kept).get_color() != line(axes, "validation").get_color()
    assert margin(picture) > 3
