"""The internals of `BPR`, which has the parameters and `fit`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..._utils.mapped import FilePool, blocked_sum, column_counts
from ..._utils.pool import Pool
from ..._utils.threads import map_parallel, resolve_num_threads
from ..._utils.validation import check_pair
from ...data.csr import CSR
from ...data.hold_out import row_keys
from ...kernels import Adaptive, Factors, Popular, Rounds, Sides
from .._feature_model import FeatureModel
from .._fit_loop import Iteration
from .._partial_fit import Change
from .._sklearn import Transformer
from ..priors.fitted_prior import FittedPrior, fitted_state
from .adagrad import first_squares
from .epochs import EpochModel
from .held_out import HeldOut, Pairs
from .leaning import FIRST_EPOCH, Leaning, LearnedLeaning, lean
from .new_items import like_known_items
from .pairwise import PARTS, PairwiseTraining, with_repeats
from .trainer import FOLD_IN_ROWS
from .triples import positive_counts

if TYPE_CHECKING:
    from ...kernels import Triples
    from .._feature_model import Checked


class PairwiseModel(FeatureModel, EpochModel, Transformer):
    """A model fitted by pairwise steps."""

    loss: str
    sampling: str
    adaptive_rate: float
    max_sampled: int
    verify_negatives: bool
    optimizer: str
    regularization: Any
    negative_regularization: float | None
    bias_regularization: float
    feature_weight: float

    _loss_name = "loss"

    # Training

    def _training(
        self, train: CSR, held_out: CSR | None, rng: np.random.Generator, start: Factors | None = None,
        pool: Pool | None = None, files: FilePool | None = None,
    ) -> PairwiseTraining:  # fmt: skip
        return PairwiseTraining(self, train, held_out, rng, start, pool, files)

    def _night_rows(self, change: Change) -> CSR:
        return with_repeats(change)

    def _lean_on(self, training: PairwiseTraining, features: dict[str, Checked]) -> None:
        first, threads = 1 if self.warm_start else min(FIRST_EPOCH, self.epochs), resolve_num_threads(self.num_threads)
        for kind, checked in features.items():
            counts, weight = training.counts_of(kind), float(self.feature_weight)
            training.leanings[kind] = LearnedLeaning(checked, counts, weight, self._strength(kind), first, threads)

    def _finished(self, training: PairwiseTraining, done: Iteration) -> dict[str, Any]:
        users, items, learned = done.user_factors, done.item_factors, training.learned()
        of_users = of_items = None
        if "user" in learned:
            of_users, users = learned["user"].finish(users, users[:, :-1])
        if "item" in learned:
            of_items, items = learned["item"].finish(items, items)
        state = {"items_of_fit_": len(items), **fitted_state(of_users, of_items)}
        return {"user_factors": users, "item_factors": items, **state}

    def _end(self, training: PairwiseTraining) -> None:
        waiting = [one for one in training.learned().values() if one.prior.chosen is None]
        if waiting and self.user_factors is not None and self.item_factors is not None:  # ended before they began
            for leaning in waiting:
                leaning.prior.ended = True
            self._assign(**self._finished(training, Iteration(self.user_factors.copy(), self.item_factors.copy())))

    def _learn_from(self, change: Change, **features: Any) -> None:
        super()._learn_from(change, **features)
        prior, first = self._prior("item"), getattr(self, "items_of_fit_", None)
        if prior is not None and prior.active and first is not None and first < change.rows.shape[1]:
            self._assign(item_factors=_raised(self._side("item"), change.rows, prior, first))

    def _lean_as_before(
        self, training: PairwiseTraining, change: Change, given: dict[str, Any]
    ) -> dict[str, Any]:  # fmt: skip
        positives, grown = change.rows.filter(change.rows.data > 0), dict[str, Any]()  # each once, unlike in an epoch
        of_rows, of_columns = np.diff(positives.indptr), column_counts(positives.indices, positives.shape[1])
        for kind in ("user", "item"):
            grown |= self._partial_prior(kind, change.new(kind), given.get(kind))
            if (prior := grown.get(f"_{kind}_prior")) is not None:
                counts, weight = of_rows if kind == "user" else of_columns, float(self.feature_weight)
                training.leanings[kind] = Leaning(prior, counts, weight, resolve_num_threads(self.num_threads))
        return grown

    @property
    def _kernel_loss(self) -> Literal["logistic", "hinge"]:
        return "logistic" if self.loss == "bpr" else "hinge"

    def _searches(self) -> bool:
        """Whether negatives are those that the factors rank too high."""
        return self.loss == "warp" or self.max_sampled > 1

    def _parts(self) -> int:
        """Return of how many parts of the interactions negatives are drawn one after the other."""
        return PARTS if self._searches() or self.sampling == "adaptive" else 1

    def _lambdas(self) -> tuple[float, float, float, float]:
        """Return lambda of users, of items as positives and as negatives, and of biases."""
        users, items = check_pair("regularization", self.regularization, ("users", "items"))
        negatives = items if self.negative_regularization is None else float(self.negative_regularization)
        return users, items, negatives, float(self.bias_regularization)

    def _rank_weights(self, n: int) -> NDArray[np.float64] | None:
        """Return the weight for each number of draws, out of n items; None to take the first negative."""
        if self.loss == "bpr":
            return np.ones(self.max_sampled) if self._searches() else None
        rank = np.maximum(1, (n - 1) // np.arange(1, self.max_sampled + 1))
        harmonic = np.cumsum(1 / np.arange(1, rank[0] + 1))
        return np.asarray(harmonic[rank - 1] / harmonic[-1])

    def _weighted(self, triples: Triples) -> Triples:
        """Return the triples without the weights of BPR, which are all 1."""
        return triples._replace(weight=None) if self.loss == "bpr" else triples

    def _initial_squares(self, sides: Sides, pool: Pool | None = None) -> Sides | None:
        return None if self.optimizer == "sgd" else Sides(*(first_squares(part, pool) for part in sides))

    def _truth(self, rows: CSR) -> NDArray[Any]:
        return (rows.data > 0).astype(rows.data.dtype)

    def _are_known(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            return np.asarray(np.asarray(values, self.dtype) != 0)

    def _may_be_held_out(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(np.asarray(values, self.dtype) > 0)

    def _held_out(self, positives: CSR, rng: np.random.Generator, pool: Pool) -> HeldOut:
        """Add another item for each."""
        if not len(positives.indices):
            raise ValueError("validation must contain at least one value above 0, got none: only these are ranked")
        return HeldOut.with_others(positives, rng, pool)

    def _losses(self, X: NDArray[Any], Y: NDArray[Any], pairs: Pairs) -> NDArray[np.float64]:
        """Return the losses of held-out triples, whatever the loss of the fit: log(1 + exp(-d))."""
        assert pairs.others is not None
        own, others = (self._products(X, Y, pairs.users, items) for items in (pairs.items, pairs.others))
        return np.asarray(np.logaddexp(0, others - own.astype(np.float64)))

    def _validation_loss(self, X: NDArray[Any], Y: NDArray[Any], held_out: HeldOut) -> float:
        """Return the mean loss of the held-out triples."""
        return blocked_sum(held_out.losses(X, partial(self._losses, X, Y))) / len(held_out.rows.indices)

    def _pack(self, factors: Factors) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the columns of the user factors and of the item factors."""
        return (factors.X, 1), (factors.Y, factors.column_bias)

    def _unpack(self, users: NDArray[Any], items: NDArray[Any]) -> Factors:
        return Factors(users[:, :-1], items[:, :-1], np.zeros(len(users), users.dtype), items[:, -1])

    def _latent(self, factors: NDArray[Any]) -> NDArray[Any]:
        return factors[:, :-1]

    # Fold-in

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None,
        given: tuple[CSR, NDArray[np.bool_]] | None = None, own: NDArray[Any] | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        if kind == "item":
            return self._placed_items(rows, numbers, given)
        positives = rows.filter(rows.data > 0)
        means = self._means("user", rows.shape[0], fixed.dtype, numbers, given)
        counts, weight = np.diff(positives.indptr), float(self.feature_weight)
        X = np.repeat(self._mean_row("user")[None, :-1], rows.shape[0], axis=0)
        if means is not None and weight > 0:
            X[:] = means
        Y, bias = np.ascontiguousarray(fixed[:, :-1]), np.ascontiguousarray(fixed[:, -1])
        keys = (row_keys(positives) >> np.uint64(1)).astype(np.int64)  # the draws depend on the user's items only
        threads = resolve_num_threads(self.num_threads)
        popular = self._popular(fixed)
        likely = Adaptive.of(Y, bias, self.adaptive_rate, threads) if self.sampling == "adaptive" else None
        backend, weights = self._backend(), self._rank_weights(len(Y))

        @np.errstate(over="ignore", invalid="ignore")  # reported below
        def fold_in(first: int) -> None:
            part = slice(first, first + FOLD_IN_ROWS)
            taken = positives.take(np.arange(len(X))[part])
            sides, rounds = Sides(X[part], Y, bias), Rounds.one(len(X[part]), len(Y))
            squares = self._initial_squares(sides)
            for epoch in range(1, self.epochs + 1):
                rate = self._learning_rate_at(epoch)
                triples = backend.draw_triples(
                    taken.indptr, taken.indices, rounds, sides, popular, likely, weights, self.verify_negatives,
                    (0, 1), 0, epoch, 1, keys[part],
                )  # fmt: skip
                backend.pairwise_epoch(
                    self._weighted(triples), rounds, sides, squares, self._kernel_loss, rate, self._lambdas(), False, 1
                )
                if means is not None:
                    lean(sides.X, means[part], counts[part], weight, rate / float(self.learning_rate))

        map_parallel(fold_in, range(0, len(X), FOLD_IN_ROWS), threads)
        if not np.isfinite(X).all():
            raise OverflowError(f"folding in a new user diverges: lower learning_rate, got {self.learning_rate!r}")
        return np.hstack([X, np.ones((len(X), 1), X.dtype)])

    def _placed_items(
        self, rows: CSR, numbers: NDArray[np.int64] | None, given: tuple[CSR, NDArray[np.bool_]] | None
    ) -> NDArray[Any]:  # fmt: skip
        """Return items without a step: new ones begin near known ones, known ones stay where they are.

        Both lean on their features. Steps for the interactions of an item are taken by epochs, along with those for all
        others: by `partial_fit`.
        """
        items, positives = self._side("item"), rows.filter(rows.data > 0)
        new = np.ones(rows.shape[0], bool) if numbers is None else numbers >= len(items)
        counts, weight = np.diff(positives.indptr), float(self.feature_weight)
        vectors = np.repeat(self._mean_row("item")[None], rows.shape[0], axis=0)
        if counts[new].any():
            known = self._interactions_of_known(rows)
            vectors[new] = like_known_items(positives.take(np.flatnonzero(new)), known, items)
        means = self._means("item", rows.shape[0], items.dtype, numbers, given)
        if means is not None:
            lean(vectors, means, counts, weight, 1.0)
        stay = ~new & (counts > 0)
        if numbers is not None and stay.any():
            vectors[stay] = items[numbers[stay]]
            prior = self._prior("item")
            if means is not None and prior is not None:
                moved = means[stay] - prior.of_rows(numbers[stay], items.dtype)
                vectors[stay] += (weight / (weight + counts[stay])).astype(items.dtype)[:, None] * moved
        return vectors

    def _interactions_of_known(self, rows: CSR) -> CSR:
        """Return the interactions by which known items are like new ones."""
        known: CSR | None = getattr(self, "interactions_", None)
        if known is None or known.shape != (rows.shape[1], self._count("item")):
            raise ValueError(
                "new items begin near known ones with similar users, but this model does not have the interactions of "
                "its fit (it was saved without them, or its factors were set by hand): fit anew"
            )
        return known

    def _new_rows(
        self, rows: CSR, fixed: NDArray[Any], kind: str, rng: np.random.Generator, given: Any = None
    ) -> NDArray[Any]:  # fmt: skip
        """Return new users folded in, and new items near known ones, with the noise of a fit's start."""
        new = self._fold_in(rows, fixed, kind, given=given)
        if kind == "item":
            new[:, :-1] += self._initial(len(new), rng, {}).astype(new.dtype)
        return new

    def _popular(self, fixed: NDArray[Any]) -> Popular | None:
        """Return the distribution of popular negatives; None for uniform ones, if it is unknown."""
        if self.sampling != "popularity":
            return None
        known = getattr(self, "interactions_", None)
        if known is not None and known.shape[1] == len(fixed):
            counts: Any = positive_counts(known)
        else:
            counts = self._item_counts()
        return None if counts is None or not counts.any() else Popular.of(counts)


def _raised(items: NDArray[Any], rows: CSR, prior: FittedPrior, first: int) -> NDArray[Any]:
    """Return items of which those from `first` on, new since the fit, are not below their features for lack of chances.

    Negatives are drawn of a new item as of others, but its users have not seen it yet. As in `ImplicitALS`, the n
    interactions of a new item tell n / N of what those of others do, where the item of an average interaction has N. If
    its bias is below what its features predict, the item moves by the rest of the way. Of five nights that bring the
    choices of planted items, NDCG@10 on others of these is then 0.035 after the first, 0.074 after the third and 0.189
    after the last, instead of 0.003, 0.047 and 0.167 (by features alone: 0.070); on games, it is the same.
    """
    counts = column_counts(rows.indices[rows.data > 0], len(items))
    typical = float((counts[:first] ** 2).sum()) / max(1, counts[:first].sum())
    new = np.arange(first, len(items))
    means = prior.of_rows(new, items.dtype)
    lacking = np.maximum(0, 1 - counts[new] / max(1.0, typical)) * (prior.known[new] & (means[:, -1] > items[new, -1]))
    out = items.copy()
    out[new] += lacking.astype(items.dtype)[:, None] * (means - items[new])
    return out
