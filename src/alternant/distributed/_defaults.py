"""The rules of ``"auto"`` in `ImplicitALS`, from sums over shards; see `alternant.models.als.implicit_defaults`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.threads import weighted_sum
from .._utils.validation import check_pair
from ..models.als import implicit_defaults as rules
from ..models.als.degrees import Degrees, _power
from ..models.als.implicit_objective import ImplicitObjective
from ._cluster import Cluster


def choose_objective(
    model: Any, cluster: Cluster, n_u: NDArray[np.int64], n_i: NDArray[np.int64]
) -> ImplicitObjective:
    """Return the objective of a fit, with parameters as given or chosen from the interactions in the shards.

    Parameters
    ----------
    n_u, n_i : arrays
        The numbers of interactions of all users and items.
    """
    own = rules._is_auto(model.weighting)
    ranges = cluster.attempt(lambda: cluster.every("size_range"))
    least, greatest = min(low for low, _ in ranges), max(high for _, high in ranges)
    weighting = ("ials-log" if least < greatest else "ials") if own else model.weighting
    total = int(n_u.sum())
    alpha, epsilon = _scale_of_sizes(model, cluster, weighting, total)
    some_u, some_i = n_u[n_u > 0].astype(np.float64), n_i[n_i > 0].astype(np.float64)
    w0 = model.unobserved_weight
    if rules._is_auto(w0):
        spread = rules.UNOBSERVED_TOTAL * some_u.sum() / max(1, len(some_u) * len(some_i))
        w0 = spread if weighting in rules.OF_ALL_PAIRS else 1.0
    exponents = model.degree_normalization
    if rules._is_auto(exponents):
        exponents = rules._normalization(some_i) if own else 0.0
    exponents = check_pair("degree_normalization", exponents, rules.SIDES)
    popularity = model.popularity_exponent
    if popularity is None or (rules._is_auto(popularity) and not own):
        popularity = exponents[1]
    elif rules._is_auto(popularity):
        popularity = rules._popularity_exponent(some_u)
    degrees = _degrees(cluster, n_u, n_i, exponents, float(popularity))
    if not degrees.are_numbers(np.dtype(model.dtype)):
        raise ValueError(
            f"powers of the numbers of interactions must be positive and finite in {np.dtype(model.dtype)}, but they "
            f"are not with degree_normalization={model.degree_normalization!r} and "
            f"popularity_exponent={model.popularity_exponent!r}: choose exponents closer to 0"
        )
    chosen = {"weighting": weighting, "alpha": alpha, "epsilon": epsilon, "unobserved_weight": w0}
    given = not rules._is_auto(model.regularization)
    chosen["regularization"] = model.regularization if given else 0.0
    objective = rules.objective_of(model, chosen, degrees)
    plain = replace(objective, degrees=None)  # what the shards need of it here
    mean = cluster.sum("confidence_sum", plain) / max(1, total)
    if rules._is_auto(model.unobserved_weight) and weighting in rules.OF_ALL_PAIRS:
        objective = replace(objective, unobserved_weight=float(w0 * mean))
    return objective if given else replace(objective, regularization=_regularization(objective, cluster, mean))


def _scale_of_sizes(model: Any, cluster: Cluster, weighting: str, total: int) -> tuple[float, float]:
    """Return alpha and epsilon."""
    epsilon, alpha = rules._fixed("epsilon", weighting), rules._fixed("alpha", weighting)
    if not rules._is_auto(model.epsilon):
        epsilon = float(model.epsilon)
    elif epsilon is None:
        epsilon = _median(cluster, total, np.dtype(model.dtype)) if total else 1.0
    if not rules._is_auto(model.alpha):
        alpha = float(model.alpha)
    elif alpha is None:
        scale = None if weighting == "hu" else epsilon
        alpha = total / cluster.sum("size_sum", scale) if total else 1.0
    return alpha, epsilon


def _median(cluster: Cluster, total: int, dtype: np.dtype[Any]) -> float:
    """Return the median of the absolute values: positive floats are in the order of their representations."""
    middle = [_nth_size(cluster, rank, dtype) for rank in sorted({(total - 1) // 2, total // 2})]
    return float(np.mean(np.array(middle, dtype)))


def _nth_size(cluster: Cluster, rank: int, dtype: np.dtype[Any]) -> Any:
    prefix = 0
    for shift in range(8 * dtype.itemsize - 16, -1, -16):
        counts = np.cumsum(cluster.sum("size_histogram", shift, prefix))
        digit = int(np.searchsorted(counts, rank, side="right"))
        rank -= int(counts[digit - 1]) if digit else 0
        prefix = prefix << 16 | digit
    return np.array(prefix, f"u{dtype.itemsize}").view(dtype)[()]


def _degrees(
    cluster: Cluster, n_u: NDArray[np.int64], n_i: NDArray[np.int64], exponents: tuple[float, float], s: float
) -> Degrees:
    """Return the degrees and constants of a fit; see `Degrees.of`."""
    a, b = exponents
    total = max(1, int(n_u.sum()))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # see `Degrees.are_numbers`
        mean_d = weighted_sum(n_u, _power(n_u, -a)) / total or 1.0
        e = _power(n_i, -b)
        if a == 0 or b == 0:
            mean_e = weighted_sum(n_i, e) / total
        else:
            mean_e = cluster.sum("joint_degrees", a, e) / mean_d / total
        mean_m = weighted_sum(n_i, _power(n_i, s - b)) / total
    return Degrees(n_u, n_i, exponents, s, (1 / mean_d, 1 / (mean_e or 1.0), 1 / (mean_m or 1.0)))


def _regularization(objective: ImplicitObjective, cluster: Cluster, mean_confidence: float) -> tuple[float, float]:
    """Return lambda of the users and of the items."""
    degrees = objective.degrees
    assert degrees is not None
    sides = [counts[counts > 0].astype(np.float64) for counts in (degrees.users, degrees.items)]
    if not len(sides[0]):
        return 1.0, 1.0
    threshold = _threshold(cluster, degrees) * mean_confidence
    lambdas = [
        float(threshold * counts.mean() / objective.lambda_scale(counts, columns).mean())
        for counts, columns in zip(sides, (len(degrees.items), len(degrees.users)), strict=True)
    ]
    return lambdas[0], lambdas[1]


def _threshold(cluster: Cluster, degrees: Degrees) -> float:
    """Return the threshold of the singular values that a fit keeps."""
    flat = degrees.user_weights is None
    d = (1.0, 0.0) if flat else (degrees.constants[0], -degrees.exponents[0])
    e = np.ones(len(degrees.items)) if degrees.item_weights is None else degrees.item_weights
    of_users, columns = cluster.sum("noise", d, e)
    (r1, r2, same), c = of_users, e**2 * columns
    noise = np.sqrt(r2 / r1) + np.sqrt((c**2).sum() / c.sum())
    n_u, n_i = (counts[counts > 0].mean() for counts in (degrees.users, degrees.items))
    structure = _fourth_powers(cluster, d, e, int(degrees.users.sum())) / (r2 + (c**2).sum() - same)
    share = np.clip(rules.NOISE_SHARE - rules.STRUCTURE_SHARE * structure, *rules.SHARES)
    alike = rules.ALIKE_SHARE * (1 / np.sqrt(n_u) + 1 / np.sqrt(n_i))
    return float(max(min(share * noise / np.sqrt(n_u * n_i), alike), rules.MIN_THRESHOLD))


def _fourth_powers(cluster: Cluster, d: tuple[float, float], e: NDArray[np.float64], total: int) -> float:
    """Estimate the sum of the fourth powers of the singular values of the weighted matrix, except the first."""

    def squared(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(e[:, None] * cluster.sum("squared", d, e[:, None] * v))

    first = np.ones((len(e), 1))
    for _ in range(rules.POWER_STEPS):
        first = squared(first)
        first /= np.sqrt((first**2).sum())
    count = int(np.clip(rules.PROBED // max(1, total), *rules.PROBES))
    probes = np.random.default_rng(0).integers(0, 2, (len(e), count)) * 2.0 - 1
    probes = squared(probes - first * (first * probes).sum(axis=0))
    probes -= first * (first * probes).sum(axis=0)
    return float((probes**2).sum() / count)
