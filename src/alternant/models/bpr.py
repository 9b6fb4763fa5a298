"""Bayesian personalized ranking of implicit feedback, and WARP, by stochastic gradient descent on triples."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import FilePool, blocked_sum
from .._utils.pool import Pool
from .._utils.threads import map_parallel, resolve_num_threads
from .._utils.validation import check_boolean, check_pair
from ..data.csr import CSR
from ..data.hold_out import row_keys
from ..kernels import Adaptive, Factors, Popular, Rounds, Sides
from ._memory import BLOCKS, PER_ROW, FitMemory
from ._parameters import Rule, integer_rule, none_or, number_rule
from ._sklearn import Transformer
from ._traits import Traits
from .sgd.adagrad import first_squares
from .sgd.epochs import EpochModel
from .sgd.held_out import HeldOut, Pairs
from .sgd.new_items import like_known_items
from .sgd.pairwise import PARTS, PairwiseTraining, block_count, round_count, with_repeats
from .sgd.trainer import FOLD_IN_ROWS
from .sgd.triples import DRAWN_TRIPLES, positive_counts

if TYPE_CHECKING:
    from .._typing import BackendName, DType, Seed
    from ..kernels import Triples
    from ._partial_fit import Change


class BPR(EpochModel, Transformer):
    r"""Pairwise ranking of implicit feedback: items of a user are ranked above others.

    The score of an item is ``c_i + x_u . y_i``. In each epoch, a negative j is drawn for every interaction (u, i), and
    a step lowers

    .. math:: \ell(d) + \tfrac12 (\lambda_u |x_u|^2 + \lambda_i |y_i|^2 + \lambda_j |y_j|^2
              + \lambda_c (c_i^2 + c_j^2)), \qquad d = c_i - c_j + x_u \cdot (y_i - y_j)

    where the loss is ``log(1 + exp(-d))`` in BPR (Rendle et al. 2009). Most negatives are ranked low already, and teach
    little: as in WARP (Weston et al. 2011), up to `max_sampled` are drawn, and the first with ``d < 1`` is taken.
    WARP's loss is ``1 - d``, weighted by the harmonic number of the rank that the number of draws suggests, relative to
    that of the last rank. Only values above 0 count as interactions.

    Parameters
    ----------
    factors : int
        Number of factors: the length of the vectors x and y.
    loss : {"bpr", "warp"}
        The loss.
    sampling : {"uniform", "popularity", "adaptive"}
        How negatives are drawn from all items: with equal probability; in proportion to their numbers of interactions;
        or so that items with a high score for the user are more likely (Rendle and Freudenthaler 2014).
    adaptive_rate : float
        In ``sampling="adaptive"``, the mean rank of the negatives by the drawn factor is about ``1 / adaptive_rate``.
    max_sampled : int
        Maximum number of candidates drawn for an interaction, including those that are refused because the user has
        interacted with them. If none is taken, there is no step. With ``loss="bpr"``, 1 takes the first that is not
        refused unconditionally, as in the paper; up to 100 are drawn.
    verify_negatives : bool
        Draw again if the user has interacted with the negative.
    optimizer : {"adagrad", "sgd"}
        Adagrad (Duchi et al. 2011), or plain SGD steps.
    learning_rate : float
        Learning rate in the first epoch.
    learning_rate_decay : float
        Factor by which the learning rate is multiplied after each epoch.
    regularization : float or (float, float)
        lambda of the vectors of users and of items, for both or as (users, items).
    negative_regularization : float or None
        lambda of the vector of an item that is a negative; None for that of items.
    bias_regularization : float
        lambda of the biases of items.
    epochs : int
        Maximum number of passes over the interactions.
    early_stopping : float or None
        Stop when the loss of the held-out interactions (without any, the objective) has not fallen by more than this
        fraction of its lowest value for `patience` epochs.
    patience : int
        See `early_stopping`.
    validation_fraction : float
        Fraction of the interactions held out at random to measure the loss after each epoch, with a uniform negative
        each, drawn once. With held-out interactions, the model ends with the factors of the best epoch.
    warm_start : bool
        Start `fit` from the model's factors. Users and items that are not among them are initialized as in a first fit.
    init_scale : float
        The vectors are drawn from a normal distribution with standard deviation ``init_scale / sqrt(factors)``; biases
        start at 0, and so do the vectors of users without interactions.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the factors.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the initial factors, the schedule, the negatives and the split. With an int, fits of equal input are
        bit-identical on any number of threads.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors + 1)
        Rows ``(x_u, 1)``.
    item_factors : array, shape (n_items, factors + 1)
        Rows ``(y_i, c_i)``: the dot product of the two is the score.
    n_iter_ : int
        Number of epochs run.
    history_ : dict of lists
        One entry per epoch: ``objective``; ``train_loss`` per interaction, the number of ``triples`` and ``train_auc``,
        the share of them that were ranked correctly, accumulated during the epoch; ``validation_loss`` if interactions
        are held out; ``learning_rate``, and ``seconds`` since the fit began.
    backend_ : str
        The backend that the fit used.
    mean_squares_ : tuple of float
        What Adagrad's sums grew by for each interaction: of the vectors of users and items, and the biases.
    interactions_ : CSR
        The interactions of the fit.

    References
    ----------
    S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit
    Feedback", UAI 2009.

    S. Rendle, C. Freudenthaler, "Improving Pairwise Learning for Item Recommendation from Implicit Feedback", WSDM
    2014.

    J. Weston, S. Bengio, N. Usunier, "WSABIE: Scaling Up to Large Vocabulary Image Annotation", IJCAI 2011.

    A. Milogradskii, O. Lashinin, A. P, M. Ananyeva, S. Kolesnikov, "Revisiting BPR: A Replicability Study of a Common
    Recommender System Baseline", RecSys 2024.
    """

    traits: ClassVar[Traits] = Traits(
        "implicit", "clicks, plays, purchases, as pairs of items to rank", "stochastic gradient descent, BPR or WARP"
    )
    _fitted_state = (*EpochModel._fitted_state, "mean_squares_")
    _loss_name = "loss"
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "loss": ("bpr", "warp"),
        "sampling": ("uniform", "popularity", "adaptive"),
        "optimizer": ("adagrad", "sgd"),
    }
    _rules: ClassVar[dict[str, Rule]] = {
        "adaptive_rate": number_rule(0, above=True),
        "max_sampled": integer_rule(1),
        "negative_regularization": none_or(number_rule(0)),
        "verify_negatives": check_boolean,
    }

    def __init__(
        self,
        *,
        factors: int = 64,
        loss: Literal["bpr", "warp"] = "bpr",
        sampling: Literal["uniform", "popularity", "adaptive"] = "uniform",
        adaptive_rate: float = 0.01,
        max_sampled: int = 30,
        verify_negatives: bool = True,
        optimizer: Literal["adagrad", "sgd"] = "adagrad",
        learning_rate: float = 0.15,
        learning_rate_decay: float = 0.97,
        regularization: float | tuple[float, float] = 0.03,
        negative_regularization: float | None = None,
        bias_regularization: float = 0.0,
        epochs: int = 50,
        early_stopping: float | None = None,
        patience: int = 3,
        validation_fraction: float = 0.0,
        warm_start: bool = False,
        init_scale: float = 0.02,
        dtype: DType = "float32",
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.factors = factors
        self.loss = loss
        self.sampling = sampling
        self.adaptive_rate = adaptive_rate
        self.max_sampled = max_sampled
        self.verify_negatives = verify_negatives
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.regularization = regularization
        self.negative_regularization = negative_regularization
        self.bias_regularization = bias_regularization
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.init_scale = init_scale
        self.dtype = dtype
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges for the optimizer and the sampling of this model."""
        space: dict[str, Any] = {
            "learning_rate": (0.05, 0.5, "log") if self.optimizer == "adagrad" else (0.01, 0.2, "log"),
            "regularization": (0.005, 0.1, "log"),
            "bias_regularization": (0.0001, 0.1, "log"),
            "max_sampled": [1, 10, 30],
        }
        return space | {"adaptive_rate": (0.0005, 0.05, "log")} if self.sampling == "adaptive" else space

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an epoch: a third of the candidates are looked at before one is taken."""
        return n_pairs * (80 + self.factors) * (1 + self.max_sampled / 3)

    def fit_memory(self, n_users: int, n_items: int, n_pairs: int) -> FitMemory:
        """Estimate the memory of a fit from a matrix in memory."""
        number, columns = np.dtype(self.dtype).itemsize, self.factors + 1
        triples = -(-n_pairs // self._parts())
        blocks = block_count(n_users, n_items, triples)
        rounds = round_count(blocks)
        # In memory: the items that an epoch changes, in the order of the blocks, the users of the blocks that are
        # processed at a time, and Adagrad's sums of both; the items in the order of each factor, before and after they
        # are sorted anew, and those that held-out triples need. In files, if need be: all users that an epoch changes.
        own, items, kinds = (n_users + n_items) * columns * number, n_items * columns, 1 + (self.optimizer != "sgd")
        users = kinds * n_users * columns * number
        at_once = users * min(max(1, blocks // 2), resolve_num_threads(self.num_threads)) // max(1, blocks // 2)
        moving = kinds * items * number + at_once + (8 * items if self.sampling == "adaptive" else 0)
        copies, of_items = (3, items * number) if self.validation_fraction else (2, 0)
        each = 12 + (number if self.loss == "warp" else 0)
        # The triples of a round, twice while they are put together, and where those of each task are in the files.
        of_round = 2 * each * (triples // rounds) + 4 * rounds * blocks // 2 * (triples // DRAWN_TRIPLES)
        # In memory, a part of the triples is drawn at once, and no parts of the interactions are read.
        drawn = 16 + (2 * number if self._searches() else 0)
        pairs = max(self.bytes_per_pair * n_pairs, 20 * n_pairs + drawn * triples)
        entries = max(0, pairs - of_round - BLOCKS)
        return FitMemory(
            entries=entries, vectors=(n_users + n_items) * PER_ROW, factors=copies * own + users - at_once,
            fixed=moving + of_items, mapped=at_once, moved=users - at_once, largest=of_round,
            disk=4 * n_pairs + each * triples, values=False, streams=True, files=True,
        )  # fmt: skip

    # Training

    def _training(
        self, train: CSR, held_out: CSR | None, rng: np.random.Generator, start: Factors | None = None,
        pool: Pool | None = None, files: FilePool | None = None,
    ) -> PairwiseTraining:  # fmt: skip
        return PairwiseTraining(self, train, held_out, rng, start, pool, files)

    def _night_rows(self, change: Change) -> CSR:
        return with_repeats(change)

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
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[Any]:
        positives = rows.filter(rows.data > 0)
        mean = self._mean_row("user")
        X = np.repeat(mean[None, :-1], rows.shape[0], axis=0)
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
                triples = backend.draw_triples(
                    taken.indptr, taken.indices, rounds, sides, popular, likely, weights, self.verify_negatives,
                    (0, 1), 0, epoch, 1, keys[part],
                )  # fmt: skip
                backend.pairwise_epoch(
                    self._weighted(triples), rounds, sides, squares, self._kernel_loss, self._learning_rate_at(epoch),
                    self._lambdas(), False, 1,
                )  # fmt: skip

        map_parallel(fold_in, range(0, len(X), FOLD_IN_ROWS), threads)
        if not np.isfinite(X).all():
            raise OverflowError(f"folding in a new user diverges: lower learning_rate, got {self.learning_rate!r}")
        return np.hstack([X, np.ones((len(X), 1), X.dtype)])

    def _new_rows(self, rows: CSR, fixed: NDArray[Any], kind: str, rng: np.random.Generator) -> NDArray[Any]:
        """Return new users folded in, and new items near known ones, with the noise of a fit's start."""
        if kind == "user":
            return self._fold_in(rows, fixed, kind)
        new = like_known_items(rows, self._known_interactions(), self._side("item"))
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
