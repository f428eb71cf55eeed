"""Least squares with a squared penalty, for several penalties at once, where some answers are empty.

    minimise ‖P(Y − XW − 1b)‖² + α‖W‖²   (Hoerl and Kennard 1970), columns centred, the intercept b unpenalised

P keeps the measured cells of Y: each output is fitted to the windows that measured it. With fewer windows than columns
the dual is solved, W = Xᵀ(XXᵀ + αI)⁻¹Y (Saunders, Gammerman and Vovk 1998): the same map, from a matrix of windows ×
windows instead of columns × columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flts.models.base import Indices
from flts.preprocess.rows import Values

Solution = tuple[Values, Values]
"""Weights [columns, outputs] and intercept [outputs]."""


class System(Protocol):
    """Windows with their columns X and answers Y, neither of which must fit into memory at once."""

    def __len__(self) -> int:
        """How many windows."""

    @property
    def targets(self) -> int:
        """Outputs of one step; output i belongs to target i modulo this."""

    def chunks(self) -> Iterator[tuple[Values, Values]]:
        """Columns [some windows, columns] and answers [some windows, outputs], in order; NaN where not measured."""

    def parts(self) -> Iterator[Values]:
        """The columns of all windows, some at a time, in order: [windows, some columns]."""

    def answers(self) -> Values:
        """All answers [windows, outputs]."""

    def measured(self) -> NDArray[np.bool_]:
        """Which answers were measured: [windows, outputs]."""

    def only(self, kept: NDArray[np.bool_]) -> System:
        """Some of the windows."""


def solutions(system: System, alphas: Sequence[float]) -> Iterator[Solution]:
    """The solution for every α, in their order. All α share the eigendecompositions."""
    primal = sum(part.shape[1] for part in system.only(np.arange(len(system)) < 1).parts()) <= len(system)
    return (_primal if primal else _dual)(system, alphas)


def _primal(system: System, alphas: Sequence[float]) -> Iterator[Solution]:
    """Solve with the Gram matrix of the columns.

    Means are taken in a pass of their own, so that no digits cancel. Where outputs miss some windows, their matrix is
    that of all windows minus those, moved to the mean of the others.
    """
    measured = system.measured()
    sums = [(x.sum(axis=0), np.nansum(y, axis=0)) for x, y in system.chunks()]
    x_sum, y_sum = (np.sum(part, axis=0) for part in zip(*sums, strict=True))
    x_mean, y_mean = x_sum / len(system), _means(y_sum, measured, system.targets)
    xx, xy = np.zeros((len(x_mean), len(x_mean))), np.zeros((len(x_mean), len(y_mean)))
    for x, y in system.chunks():
        centred = x - x_mean
        xx += centred.T @ centred
        xy += centred.T @ np.nan_to_num(y - y_mean)
    weights = np.zeros((len(alphas), *xy.shape))
    intercepts = np.tile(y_mean, (len(alphas), 1))
    for kept, outputs in _groups(measured):
        gram, mean = xx, x_mean
        if not kept.all():
            gram, missed = xx.copy(), np.zeros(len(x_mean))
            for x, _ in system.only(~kept).chunks():
                centred = x - x_mean
                gram -= centred.T @ centred
                missed += centred.sum(axis=0)
            shift = -missed / kept.sum()
            gram -= kept.sum() * np.outer(shift, shift)
            mean = x_mean + shift
        solved = _penalised(gram, xy[:, outputs], alphas)
        weights[..., outputs] = solved
        intercepts[:, outputs] -= [mean @ of_alpha for of_alpha in solved]
    yield from zip(weights, intercepts, strict=True)


def _dual(system: System, alphas: Sequence[float]) -> Iterator[Solution]:
    """Solve with the Gram matrix of the windows; the columns are made part by part, never all at once."""
    answers, measured = system.answers(), system.measured()
    y_mean = _means(np.nansum(answers, axis=0), measured, system.targets)
    y = np.nan_to_num(answers - y_mean)
    means, gram = [], np.zeros((len(y), len(y)))
    for x in system.parts():
        means.append(x.mean(axis=0))
        centred = x - means[-1]
        gram += centred @ centred.T
    factors = np.zeros((len(alphas), *y.shape))
    for kept, outputs in _groups(measured):
        own = gram[np.ix_(kept, kept)]
        mean = own.mean(axis=0)
        own = own - mean - mean[:, None] + mean.mean()  # the windows about their own mean
        factors[:, np.flatnonzero(kept)[:, None], outputs] = _penalised(own, y[np.ix_(kept, outputs)], alphas)
    for of_alpha in factors:
        # the factors of an output sum to zero, so the columns may be centred about any mean
        weights = np.vstack([(x - mean).T @ of_alpha for x, mean in zip(system.parts(), means, strict=True)])
        above = (gram @ of_alpha * measured).sum(axis=0) / np.maximum(measured.sum(axis=0), 1)
        yield weights, y_mean - above - np.concatenate(means) @ weights


def _penalised(gram: Values, right: Values, alphas: Sequence[float]) -> Values:
    """(gram + αI)⁻¹ right for every α: [alphas, size, outputs]."""
    if len(alphas) == 1:
        return np.asarray(np.linalg.solve(gram + alphas[0] * np.eye(len(gram)), right), dtype=np.float64)[None]
    values, vectors = np.linalg.eigh(gram)
    projected = vectors.T @ right
    return np.stack([vectors @ (projected / (np.maximum(values, 0.0) + alpha)[:, None]) for alpha in alphas])


def _means(sums: Values, measured: NDArray[np.bool_], targets: int) -> Values:
    """Mean of each output over its measured cells; an output that no window holds has the mean of its target."""
    count = measured.sum(axis=0)
    means: Values = sums / np.maximum(count, 1)
    if count.all():
        return means
    of_target = sums.reshape(-1, targets).sum(axis=0) / np.maximum(count.reshape(-1, targets).sum(axis=0), 1)
    return np.where(count > 0, means, np.tile(of_target, len(means) // targets))


def _groups(measured: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], Indices]]:
    """Outputs that were measured in the same windows, and so share one solution: those windows, and the outputs."""
    if measured.all():  # as nearly always; to find equal columns takes a quarter of a small fit
        yield measured[:, 0], np.arange(measured.shape[1])
        return
    masks, group = np.unique(measured, axis=1, return_inverse=True)
    for number, kept in enumerate(masks.T):
        if kept.any():
            yield kept, np.flatnonzero(group.reshape(-1) == number)
