"""What ``"auto"`` means to `ImplicitALS`: numbers that follow from the interactions a fit is given.

The rules and their few constants were chosen on a validation part of ten data sets, from 100 to 250,000 items and 2 to
170 interactions a user, at 64 and 256 factors; ``python -m benchmarks defaults`` holds them against a search, and
``benchmarks/results/accuracy.md`` says where a test part was looked at. Rows without interactions change no rule.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.threads import weighted_sum
from ..._utils.validation import check_pair
from ...data.csr import CSR
from .._parameters import AUTO
from .degrees import Degrees
from .implicit_objective import ImplicitObjective

WEIGHTINGS = ("hu", "log", "proportional", "ials", "ials-log")
SIDES = ("users", "items")
# The parameters that may be "auto"; a fit notes what it chose under the same name with an underscore.
CHOSEN = (
    "weighting", "alpha", "epsilon", "unobserved_weight", "regularization", "degree_normalization",
    "popularity_exponent",
)  # fmt: skip
OF_ALL_PAIRS = ("ials", "ials-log")  # weightings whose w0 is on all pairs

# All unobserved pairs together weigh as much as so many times the observed ones.
UNOBSERVED_TOTAL = 75.0
# The regularization cuts off so much of the noise where there is as much structure as chance brings about, less where
# there is more, and this at least.
NOISE_SHARE = 1.35
STRUCTURE_SHARE = 0.72
SHARES = (0.42, 1.0)
ALIKE_SHARE = 0.9
LEAST_THRESHOLD = 0.15
# The estimate of structure takes so many probes times interactions; where these are many, errors average out.
PROBED = 1 << 23
PROBES = (8, 64)
POWER_STEPS = 6


def choose_objective(model: Any, rows: CSR) -> ImplicitObjective:
    """Return the objective of a fit of these rows: parameters as given, or as the rows suggest."""
    own = _is_auto(model.weighting)  # else the objective is a paper's, without normalization
    size = np.abs(rows.data)
    weighting = model.weighting
    if own:
        weighting = "ials-log" if size.min(initial=np.inf) < size.max(initial=0) else "ials"
    alpha, epsilon = _scale_of_sizes(model, size, weighting)
    n_u, n_i = (counts[counts > 0].astype(np.float64) for counts in _counts(rows))
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
    degrees = Degrees.of(rows, exponents, float(popularity))
    if not degrees.are_numbers(rows.data.dtype):
        raise ValueError(
            f"powers of the numbers of interactions must be positive numbers in {rows.data.dtype}, but "
            f"with degree_normalization={model.degree_normalization!r} and "
            f"popularity_exponent={model.popularity_exponent!r} they are not: choose exponents nearer to 0"
        )
    chosen = {"weighting": weighting, "alpha": alpha, "epsilon": epsilon, "unobserved_weight": w0}
    given = not _is_auto(model.regularization)
    chosen["regularization"] = model.regularization if given else 0.0
    objective = objective_of(model, chosen, degrees)
    if _is_auto(model.unobserved_weight) and weighting in OF_ALL_PAIRS:
        objective = replace(objective, unobserved_weight=float(w0 * objective.mean_confidence(size)))
    return objective if given else replace(objective, regularization=_regularization(objective, rows, degrees))


def fitted_objective(model: Any, degrees: Degrees | None) -> ImplicitObjective:
    """Return the objective of a model that has factors: parameters as given, or as its fit chose them."""
    chosen = {}
    for name in ("weighting", "alpha", "epsilon", "unobserved_weight", "regularization"):
        value = getattr(model, name)
        if _is_auto(value):
            value = getattr(model, f"{name}_", None)
            if value is not None and model.weighting not in (AUTO, model.weighting_):
                raise ValueError(
                    f"{name}='auto' was chosen for weighting={model.weighting_!r}, which is {model.weighting!r} now: "
                    f"call fit again, or pass a value for {name}"
                )
            if value is None and not _is_auto(model.weighting):
                value = _fixed(name, model.weighting)
            if value is None:
                raise ValueError(
                    f"{name}='auto' is chosen by fit, but the factors of this model were set by hand: pass a value"
                )
        chosen[name] = value
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
    """Return the parameters of `CHOSEN` as attributes of the fitted model."""
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
    """Return what does not depend on the interactions, or None."""
    if name == "alpha" and weighting in ("proportional", "ials"):
        return 1.0  # as the library implicit has it; without effect
    if name == "epsilon" and weighting in ("hu", "proportional", "ials"):
        return 1.0  # without effect
    return 1.0 if name == "unobserved_weight" and weighting not in OF_ALL_PAIRS else None


def _scale_of_sizes(model: Any, size: NDArray[Any], weighting: str) -> tuple[float, float]:
    """Return alpha and epsilon: half of the mean confidence is due to sizes, which count from their median on."""
    epsilon = _fixed("epsilon", weighting) or float(np.median(size)) if len(size) else 1.0
    if not _is_auto(model.epsilon):
        epsilon = float(model.epsilon)
    alpha = _fixed("alpha", weighting)
    if not _is_auto(model.alpha):
        alpha = float(model.alpha)
    if alpha is None:
        wide = size.astype(np.float64)
        alpha = 1 / float((wide if weighting == "hu" else np.log1p(wide / epsilon)).mean()) if len(size) else 1.0
    return alpha, epsilon


def _normalization(n_i: NDArray[np.float64]) -> tuple[float, float]:
    """Return a and b, which is less where few items have most of the interactions: those are to be predicted, too."""
    if not len(n_i):
        return 0.25, 0.1
    share = n_i.sum() ** 2 / (len(n_i) * (n_i**2).sum())  # the effective number of items, of all
    return 0.25, float(np.clip(0.65 * share, 0.1, 0.2))


def _popularity_exponent(n_u: NDArray[np.float64]) -> float:
    """Return s: the shorter the histories, the more of a list is what everybody likes."""
    return float(min(0.7, (1 / n_u).mean())) if len(n_u) else 0.0


def _regularization(objective: ImplicitObjective, rows: CSR, degrees: Degrees) -> tuple[float, float]:
    """Return lambda of the users and of the items.

    A fit keeps the directions of the interaction matrix whose singular value is above ``sqrt(lambda_u lambda_i)``, and
    shrinks them the more, the nearer they are. The mean lambdas are such that this is `_threshold`.
    """
    shown = [counts[counts > 0].astype(np.float64) for counts in _counts(rows)]
    if not len(shown[0]):
        return 1.0, 1.0  # nothing is learned
    threshold = _threshold(rows, degrees) * objective.mean_confidence(rows.data)
    lambdas = [
        float(threshold * counts.mean() / objective.lambda_scale(counts, columns).mean())
        for counts, columns in zip(shown, rows.shape[::-1], strict=True)
    ]
    return lambdas[0], lambdas[1]


def _threshold(rows: CSR, degrees: Degrees) -> float:
    """Return where to cut, of the singular value ``sqrt(mean n_u mean n_i)`` of a matrix whose rows are all alike.

    The largest singular value that is due to chance is about ``sqrt(r) + sqrt(c)``, with the sums of squares r of the
    rows and c of the columns, where these are all the same. Else rows count by their share of the whole, as a few long
    ones have noise of their own. What is structure and what is noise, singular values do not tell: below the noise of a
    catalogue, there are many directions in which a few items go together. How much there is of that tells the number
    of ways from a user to an item to a user to an item and back (the sum of the fourth powers of the singular values
    but the first): it is 1 times the number of those that go back and forth between neighbours in a matrix without
    structure but for some directions, and more in the catalogues of shops and cities.
    """
    ones = CSR(rows.indptr, rows.indices, np.ones(len(rows.indices), np.float32), rows.shape).to_scipy()
    d = np.ones(rows.shape[0]) if degrees.user_weights is None else degrees.user_weights
    e = np.ones(rows.shape[1]) if degrees.item_weights is None else degrees.item_weights
    r, c = d**2 * (ones @ e**2), e**2 * (ones.T @ d**2)
    noise = np.sqrt((r**2).sum() / r.sum()) + np.sqrt((c**2).sum() / c.sum())
    n_u, n_i = (counts[counts > 0].mean() for counts in _counts(rows))
    back_and_forth = (r**2).sum() + (c**2).sum() - weighted_sum(d**4, ones @ e**4)
    structure = _fourth_powers(ones, d[:, None], e[:, None]) / back_and_forth
    share = np.clip(NOISE_SHARE - STRUCTURE_SHARE * structure, *SHARES)
    alike = ALIKE_SHARE * (1 / np.sqrt(n_u) + 1 / np.sqrt(n_i))  # of the noise if all rows had the same sums
    return float(max(min(share * noise / np.sqrt(n_u * n_i), alike), LEAST_THRESHOLD))


def _fourth_powers(ones: Any, d: NDArray[np.float64], e: NDArray[np.float64]) -> float:
    """Estimate the sum of the fourth powers of the singular values of ``diag(d) ones diag(e)``, but for the first.

    By Hutchinson's estimator of the trace, with probes that are orthogonal to the first singular vector.
    """

    def squared(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(e * (ones.T @ (d**2 * (ones @ (e * v)))))

    first = np.ones((len(e), 1))
    for _ in range(POWER_STEPS):
        first = squared(first)
        first /= np.sqrt((first**2).sum())
    count = int(np.clip(PROBED // max(1, ones.nnz), *PROBES))
    probes = np.random.default_rng(0).integers(0, 2, (len(e), count)) * 2.0 - 1
    probes = squared(probes - first * (first * probes).sum(axis=0))
    probes -= first * (first * probes).sum(axis=0)
    return float((probes**2).sum() / count)


def _counts(rows: CSR) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.diff(rows.indptr), np.bincount(rows.indices, minlength=rows.shape[1])


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def search_space(model: Any, rows: CSR | None) -> dict[str, Any]:
    """Return the space of `tune`: ranges around what "auto" chooses for these interactions."""
    if rows is None:
        raise ValueError(
            "the space of ImplicitALS lies around what 'auto' chooses: pass the interactions to choose for"
        )
    chosen = model.auto_parameters(rows)
    users, items = chosen["regularization"]
    if min(users, items) <= 0:  # nothing to lie around
        automatic = type(model)(**model.get_params() | {"regularization": AUTO})
        users, items = automatic.auto_parameters(rows)["regularization"]
    space: dict[str, Any] = {"regularization": ((users / 16, items / 16), (users * 4, items * 4), "log")}
    if chosen["weighting"] in OF_ALL_PAIRS:
        w0 = chosen["unobserved_weight"]
        space["unobserved_weight"] = (w0 * 2**-2.5, w0 * 2**2.5, "log") if w0 > 0 else (0.003, 1.0, "log")
    if chosen["weighting"] != "ials":  # where sizes count
        alpha = chosen["alpha"] or 1.0
        space["alpha"] = (alpha / 16, alpha * 16, "log")
    if model.weighting != AUTO:  # the objective of a paper, which has no normalization
        return space
    of_users = chosen["degree_normalization"][0]
    return space | {
        "degree_normalization": ((of_users, 0.0), (of_users, 0.5)),
        "popularity_exponent": (0.0, 0.6),
    }
