"""The rules of ``"auto"`` in `ImplicitALS`, which derive parameters from the interactions of a fit.

The rules and their few constants were chosen on validation splits of ten data sets, with 100 to 250,000 items and 2 to
170 interactions per user, at 64 and 256 factors; ``python -m benchmarks defaults`` compares them with a search, and
``benchmarks/results/accuracy.md`` says where a test split was used. Rows without interactions affect no rule.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.validation import check_pair
from ...data.csr import CSR
from .._parameters import AUTO
from .degrees import Degrees
from .implicit_objective import ImplicitObjective
from .observed import OfCounts, Statistics

WEIGHTINGS = ("hu", "log", "proportional", "ials", "ials-log")
SIDES = ("users", "items")
# The parameters that may be "auto"; the chosen values are attributes of the same name with a trailing underscore.
CHOSEN = (
    "weighting", "alpha", "epsilon", "unobserved_weight", "regularization", "degree_normalization",
    "popularity_exponent",
)  # fmt: skip
OF_ALL_PAIRS = ("ials", "ials-log")  # weightings with w0 on all pairs
EXAMPLE: dict[str, Any] = {
    "weighting": "hu", "alpha": 1.0, "epsilon": 1.0, "unobserved_weight": 0.1, "regularization": 0.01,
}  # fmt: skip

# Total weight of all pairs, relative to that of the observed ones.
UNOBSERVED_TOTAL = 75.0
# The threshold of the regularization is NOISE_SHARE - STRUCTURE_SHARE * structure times the noise, with this share
# clipped to SHARES, at most ALIKE_SHARE times the noise of uniform rows, and at least MIN_THRESHOLD.
NOISE_SHARE = 1.35
STRUCTURE_SHARE = 0.72
SHARES = (0.42, 1.0)
ALIKE_SHARE = 0.9
MIN_THRESHOLD = 0.15
# The product of probes and interactions in the estimate of structure, and the range of the number of probes; with many
# interactions, errors average out.
PROBED = 1 << 23
PROBES = (8, 64)
POWER_STEPS = 6


def choose_objective(model: Any, observed: Statistics) -> ImplicitObjective:
    """Return the objective of a fit of these interactions, with parameters as given or chosen from them."""
    own = _is_auto(model.weighting)  # else the objective of a paper, without normalization
    weighting = model.weighting
    if own:
        smallest, largest, _ = observed.range
        weighting = "ials-log" if smallest < largest else "ials"
    alpha, epsilon = _scale_of_sizes(model, observed, weighting)
    n_u, n_i = (counts[counts > 0].astype(np.float64) for counts in observed.counts)
    w0 = model.unobserved_weight
    if _is_auto(w0):
        w0 = UNOBSERVED_TOTAL * n_u.sum() / max(1, len(n_u) * len(n_i)) if weighting in OF_ALL_PAIRS else 1.0
    exponents = model.degree_normalization
    if _is_auto(exponents):
        exponents = _normalization(n_i) if own else 0.0
    exponents = check_pair("degree_normalization", exponents, SIDES)
    popularity = model.popularity_exponent
    if popularity is None or (_is_auto(popularity) and not own):
        popularity = exponents[1]
    elif _is_auto(popularity):
        popularity = _popularity_exponent(n_u)
    degrees = Degrees.of(observed, exponents, float(popularity))
    if not degrees.are_numbers(observed.dtype):
        raise ValueError(
            f"powers of the numbers of interactions must be positive and finite in {observed.dtype}, but they are not "
            f"with degree_normalization={model.degree_normalization!r} and "
            f"popularity_exponent={model.popularity_exponent!r}: choose exponents closer to 0"
        )
    chosen = {"weighting": weighting, "alpha": alpha, "epsilon": epsilon, "unobserved_weight": w0}
    given = not _is_auto(model.regularization)
    chosen["regularization"] = model.regularization if given else 0.0
    objective = objective_of(model, chosen, degrees)
    if _is_auto(model.unobserved_weight) and weighting in OF_ALL_PAIRS:
        objective = replace(objective, unobserved_weight=float(w0 * objective.mean_confidence(observed)))
    return objective if given else replace(objective, regularization=_regularization(objective, observed, degrees))


def fitted_objective(model: Any, degrees: Degrees | None) -> ImplicitObjective:
    """Return the objective of a fitted model, with parameters as given or as chosen by the fit."""
    chosen = {}
    for name in ("weighting", "alpha", "epsilon", "unobserved_weight", "regularization"):
        value = getattr(model, name)
        if _is_auto(value):
            value = getattr(model, f"{name}_", None)
            if value is not None and model.weighting not in (AUTO, model.weighting_):
                raise ValueError(
                    f"{name}='auto' was chosen for weighting={model.weighting_!r}, but weighting is now "
                    f"{model.weighting!r}: call fit again, or pass a value for {name}"
                )
            if value is None and not _is_auto(model.weighting):
                value = _fixed(name, model.weighting)
        chosen[name] = value
    missing = [name for name, value in chosen.items() if value is None]
    if missing:
        weighting = EXAMPLE["weighting"] if "weighting" in missing else model.weighting
        needed = [name for name in missing if _fixed(name, weighting) is None]
        automatic, example = (
            ", ".join(f"{name}={value!r}" for name, value in values)
            for values in (((name, AUTO) for name in needed), ((name, EXAMPLE[name]) for name in needed))
        )
        raise ValueError(
            f"this model was not fitted, so that nothing has chosen {automatic}: call set_params({example}), or with "
            "other values"
        )
    return objective_of(model, chosen, degrees)


def objective_of(model: Any, chosen: dict[str, Any], degrees: Degrees | None) -> ImplicitObjective:
    """Return the objective with these values."""
    return ImplicitObjective(
        weighting=chosen["weighting"],
        alpha=float(chosen["alpha"]),
        epsilon=float(chosen["epsilon"]),
        unobserved_weight=float(chosen["unobserved_weight"]),
        regularization=check_pair("regularization", chosen["regularization"], SIDES),
        regularization_scaling=model.regularization_scaling,
        regularization_exponent=float(model.regularization_exponent),
        degrees=degrees,
    )


def chosen_values(objective: ImplicitObjective, degrees: Degrees) -> dict[str, Any]:
    """Return the values of `CHOSEN` by the names of the fitted attributes."""
    return {
        "weighting_": objective.weighting,
        "alpha_": objective.alpha,
        "epsilon_": objective.epsilon,
        "unobserved_weight_": objective.unobserved_weight,
        "regularization_": objective.regularization,
        "degree_normalization_": degrees.exponents,
        "popularity_exponent_": degrees.popularity,
    }


# The rules


def _fixed(name: str, weighting: str) -> float | None:
    """Return the value of a parameter if it does not depend on the interactions, else None."""
    if name == "alpha" and weighting in ("proportional", "ials"):
        return 1.0  # as in the library implicit; without effect in "ials"
    if name == "epsilon" and weighting in ("hu", "proportional", "ials"):
        return 1.0  # without effect
    return 1.0 if name == "unobserved_weight" and weighting not in OF_ALL_PAIRS else None


def _scale_of_sizes(model: Any, observed: Statistics, weighting: str) -> tuple[float, float]:
    """Return alpha, such that half of the mean confidence is due to the sizes, and epsilon, the median size."""
    fixed = _fixed("epsilon", weighting)
    if not _is_auto(model.epsilon):
        epsilon = float(model.epsilon)
    elif fixed is None and observed.nnz:
        epsilon = observed.median()
    else:
        epsilon = 1.0
    alpha = _fixed("alpha", weighting)
    if not _is_auto(model.alpha):
        alpha = float(model.alpha)
    if alpha is None:

        def extent(size: NDArray[Any]) -> NDArray[np.float64]:
            wide: NDArray[np.float64] = size.astype(np.float64)
            return wide if weighting == "hu" else np.log1p(wide / epsilon)

        alpha = 1 / observed.mean(extent) if observed.nnz else 1.0
    return alpha, epsilon


def _normalization(n_i: NDArray[np.float64]) -> tuple[float, float]:
    """Return a and b; b is lower if few items have most of the interactions, as these must be predicted, too."""
    if not len(n_i):
        return 0.25, 0.1
    share = n_i.sum() ** 2 / (len(n_i) * (n_i**2).sum())  # the effective fraction of items
    return 0.25, float(np.clip(0.65 * share, 0.1, 0.2))


def _popularity_exponent(n_u: NDArray[np.float64]) -> float:
    """Return s: the shorter the histories, the more popularity counts."""
    return float(min(0.7, (1 / n_u).mean())) if len(n_u) else 0.0


def _regularization(objective: ImplicitObjective, observed: Statistics, degrees: Degrees) -> tuple[float, float]:
    """Return lambda of the users and of the items.

    A fit keeps the directions of the interaction matrix whose singular value is above ``sqrt(lambda_u lambda_i)``, and
    shrinks those close to it most. The mean lambdas are such that this equals `_threshold`.
    """
    degrees_of_sides = [counts[counts > 0].astype(np.float64) for counts in observed.counts]
    if not len(degrees_of_sides[0]):
        return 1.0, 1.0  # no interactions
    threshold = _threshold(observed, degrees) * objective.mean_confidence(observed)
    lambdas = [
        float(threshold * counts.mean() / objective.lambda_scale(counts, columns).mean())
        for counts, columns in zip(degrees_of_sides, observed.shape[::-1], strict=True)
    ]
    return lambdas[0], lambdas[1]


def _threshold(observed: Statistics, degrees: Degrees) -> float:
    """Return the threshold, relative to the singular value ``sqrt(mean n_u mean n_i)`` of a matrix of equal rows.

    The largest singular value of a random matrix whose rows all have the sum of squares r and whose columns all have c
    is about ``sqrt(r) + sqrt(c)``. If they differ, rows are weighted by their share of the total, as a few long rows
    have noise of their own. Singular values alone do not separate structure from noise: below the noise of a large
    catalogue, there are many directions in which a few items co-occur. These are measured by the number of closed walks
    user - item - user - item (the sum of the fourth powers of all singular values but the first), relative to the
    number of those that retrace their edges: about 1 for a matrix with little structure, and more for the catalogues of
    shops and cities.
    """
    d = degrees.weights_of_users()
    e = np.ones(observed.shape[1]) if degrees.item_weights is None else degrees.item_weights
    (r, r_squared, once), of_items = observed.noise(d, e)
    c = e**2 * of_items
    noise = np.sqrt(r_squared / r) + np.sqrt((c**2).sum() / c.sum())
    n_u, n_i = (counts[counts > 0].mean() for counts in observed.counts)
    structure = _fourth_powers(observed, d, e[:, None]) / (r_squared + (c**2).sum() - once)
    share = np.clip(NOISE_SHARE - STRUCTURE_SHARE * structure, *SHARES)
    alike = ALIKE_SHARE * (1 / np.sqrt(n_u) + 1 / np.sqrt(n_i))  # if all rows had equal sums
    return float(max(min(share * noise / np.sqrt(n_u * n_i), alike), MIN_THRESHOLD))


def _fourth_powers(observed: Statistics, d: OfCounts, e: NDArray[np.float64]) -> float:
    """Estimate the sum of the fourth powers of the singular values of ``diag(d) A diag(e)``, except the first.

    A has a 1 for each interaction. This is Hutchinson's trace estimator, with probes orthogonal to the first singular
    vector.
    """

    def squared(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(e * observed.squared(d, e * v))

    first = np.ones((len(e), 1))
    for _ in range(POWER_STEPS):
        first = squared(first)
        first /= np.sqrt((first**2).sum())
    count = int(np.clip(PROBED // max(1, observed.nnz), *PROBES))
    probes = np.random.default_rng(0).integers(0, 2, (len(e), count)) * 2.0 - 1
    probes = squared(probes - first * (first * probes).sum(axis=0))
    probes -= first * (first * probes).sum(axis=0)
    return float((probes**2).sum() / count)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def search_space(model: Any, rows: CSR | None) -> dict[str, Any]:
    """Return the search space of `tune`: ranges around the values that "auto" chooses for these interactions."""
    if rows is None:
        raise ValueError(
            "the search space of ImplicitALS depends on the interactions, got None: pass the interactions to be fitted"
        )
    chosen = model.auto_parameters(rows)
    users, items = chosen["regularization"]
    if min(users, items) <= 0:  # no range around 0
        automatic = type(model)(**model.get_params() | {"regularization": AUTO})
        users, items = automatic.auto_parameters(rows)["regularization"]
    space: dict[str, Any] = {"regularization": ((users / 16, items / 16), (users * 4, items * 4), "log")}
    if chosen["weighting"] in OF_ALL_PAIRS:
        w0 = chosen["unobserved_weight"]
        space["unobserved_weight"] = (w0 * 2**-2.5, w0 * 2**2.5, "log") if w0 > 0 else (0.003, 1.0, "log")
    if chosen["weighting"] != "ials":  # which ignores sizes
        alpha = chosen["alpha"] or 1.0
        space["alpha"] = (alpha / 16, alpha * 16, "log")
    if model.weighting != AUTO:  # the objective of a paper, which has no normalization
        return space
    of_users = chosen["degree_normalization"][0]
    return space | {
        "degree_normalization": ((of_users, 0.0), (of_users, 0.5)),
        "popularity_exponent": (0.0, 0.6),
    }
