"""The rules of ``"auto"`` in `ImplicitALS`, which derive parameters from the interactions of a fit.

The rules and their few constants were chosen on 16 data sets, with 100 to 250,000 items and 2 to 170 interactions per
user, at 64 and 256 factors; ``python -m benchmarks defaults`` compares them with a search, on these and on others, and
``benchmarks/results/defaults.md`` says which. Rows without interactions affect no rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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

# Mean of 1 / n_u over the users: of long, short and very short histories. Short ones are of about six interactions.
LENGTHS = (0.1, 0.18, 0.5)
# Share of the MOST_POPULAR items in the interactions, and this relative to their share of the items: without
# bestsellers, and with them.
BESTSELLERS = (0.03, 0.1)
BEYOND_EVEN = (1.5, 2.0)
MOST_POPULAR = 20
# Total weight of all pairs, relative to that of the observed ones: for long histories or those of bestsellers, and for
# short ones of other items.
UNOBSERVED_TOTAL = (75.0, 150.0)
USER_EXPONENT = 0.25  # a
# b for long histories: EVEN times the effective fraction of items, within these limits. For short ones: without and
# with bestsellers, and lower by the share of interactions with items of up to RARE, at most by LESS_FOR_RARE.
EVEN = 0.65
OF_LONG = (0.1, 0.2)
OF_SHORT = (0.3, 0.2)
RARE = 3
LESS_FOR_RARE = 0.1
# s without bestsellers: from 0 up to these, at LENGTHS; and for short histories of bestsellers.
POPULARITY_EXPONENT = (0.1, 0.0, 0.15)
OF_BESTSELLERS = 0.6
# The threshold of the regularization is NOISE_SHARE - STRUCTURE_SHARE * structure times the noise, with this share
# clipped to SHARES, at most ALIKE_SHARE times the noise of uniform rows, and at least MIN_THRESHOLD.
NOISE_SHARE = 1.35
STRUCTURE_SHARE = 0.72
SHARES = (0.42, 1.0)
ALIKE_SHARE = 0.9
MIN_THRESHOLD = 0.15
# Up to SCANTY_SHARE is added to the threshold if histories say little (they are of bestsellers, the fewer of these the
# shorter they are, or of two or three items: a mean of 1 / n_u in ONE_OR_TWO) and items co-occur as often as by chance:
# a structure in the middle of BY_CHANCE.
SCANTY_SHARE = 0.35
ONE_OR_TWO = (0.3, 0.5)
BY_CHANCE = (0.85, 0.95, 1.02, 1.08)
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
    histories = _Histories.of(n_u, n_i)
    w0 = model.unobserved_weight
    if _is_auto(w0):
        density = n_u.sum() / max(1, len(n_u) * len(n_i))
        w0 = histories.by_niche(UNOBSERVED_TOTAL) * density if weighting in OF_ALL_PAIRS else 1.0
    exponents = model.degree_normalization
    if _is_auto(exponents):
        exponents = (USER_EXPONENT, histories.item_exponent()) if own else 0.0
    exponents = check_pair("degree_normalization", exponents, SIDES)
    popularity = model.popularity_exponent
    if popularity is None or (_is_auto(popularity) and not own):
        popularity = exponents[1]
    elif _is_auto(popularity):
        popularity = histories.popularity_exponent()
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
    if given:
        return objective
    return replace(objective, regularization=_regularization(objective, observed, degrees, histories))


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


@dataclass(frozen=True)
class _Histories:
    """What numbers of interactions say about the histories of users, from which w0, b and s are chosen.

    Popularity is a good guess if a few items have a large share of all interactions, and if histories are too short to
    say more. Short histories of other items, as in most shops, are about items that go together: the more an item's
    terms are normalized (b) and the heavier the unobserved pairs, the better are the lists.
    """

    inverse_length: float  # mean of 1 / n_u
    bestsellers: float  # 0 to 1
    rare: float  # share of interactions with items of up to RARE interactions
    even: float  # effective fraction of items: 1 if all have as many interactions

    @classmethod
    def of(cls, n_u: NDArray[np.float64], n_i: NDArray[np.float64]) -> _Histories:
        if not len(n_u):
            return cls(0.0, 0.0, 0.0, 1.0)
        popular = np.sort(n_i)[-MOST_POPULAR:]
        share = popular.sum() / n_i.sum()
        beyond = share * len(n_i) / len(popular)
        bestsellers = float(np.interp(share, BESTSELLERS, (0, 1)) * np.interp(beyond, BEYOND_EVEN, (0, 1)))
        rare = n_i[n_i <= RARE].sum() / n_i.sum()
        even = n_i.sum() ** 2 / (len(n_i) * (n_i**2).sum())
        return cls(float((1 / n_u).mean()), bestsellers, float(rare), float(even))

    @property
    def short(self) -> float:
        """0 to 1."""
        return float(np.interp(self.inverse_length, LENGTHS[:2], (0, 1)))

    def by_niche(self, values: tuple[float, float]) -> float:
        """Return the second of two values for short histories of other items than bestsellers, else the first."""
        return float(np.interp(self.short * (1 - self.bestsellers), (0, 1), values))

    @property
    def scanty(self) -> float:
        """0 to 1: whether they say little about their users."""
        of_bestsellers = min(1, self.bestsellers * self.inverse_length / LENGTHS[0])
        return max(of_bestsellers, float(np.interp(self.inverse_length, ONE_OR_TWO, (0, 1))))

    def item_exponent(self) -> float:
        """Return b; in a catalogue that is hardly known, terms of items seen once or twice would weigh too much."""
        of_long = float(np.clip(EVEN * self.even, *OF_LONG))
        of_short = float(np.interp(self.bestsellers, (0, 1), OF_SHORT)) - min(LESS_FOR_RARE, self.rare)
        return of_long + self.short * (of_short - of_long)

    def popularity_exponent(self) -> float:
        """Return s."""
        of_others = float(np.interp(self.inverse_length, (0, *LENGTHS), (0, *POPULARITY_EXPONENT)))
        return max(OF_BESTSELLERS * self.bestsellers * self.short, of_others)


def _regularization(
    objective: ImplicitObjective, observed: Statistics, degrees: Degrees, histories: _Histories
) -> tuple[float, float]:
    """Return lambda of the users and of the items.

    A fit keeps the directions of the interaction matrix whose singular value is above ``sqrt(lambda_u lambda_i)``, and
    shrinks those close to it most. The mean lambdas are such that this equals `_threshold`.
    """
    degrees_of_sides = [counts[counts > 0].astype(np.float64) for counts in observed.counts]
    if not len(degrees_of_sides[0]):
        return 1.0, 1.0  # no interactions
    threshold = _threshold(observed, degrees, histories) * objective.mean_confidence(observed)
    lambdas = [
        float(threshold * counts.mean() / objective.lambda_scale(counts, columns).mean())
        for counts, columns in zip(degrees_of_sides, observed.shape[::-1], strict=True)
    ]
    return lambdas[0], lambdas[1]


def _threshold(observed: Statistics, degrees: Degrees, histories: _Histories) -> float:
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
    threshold = max(min(share * noise / np.sqrt(n_u * n_i), alike), MIN_THRESHOLD)
    return float(threshold * (1 + SCANTY_SHARE * histories.scanty * np.interp(structure, BY_CHANCE, (0, 1, 1, 0))))


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
        "popularity_exponent": (-0.2, 0.8),
    }
