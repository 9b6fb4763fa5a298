"""Matrix factorization by cosine similarity, with many negatives: sampled softmax, or the cosine contrastive loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import FilePool
from .._utils.messages import parameter, refusal
from .._utils.pool import Pool
from .._utils.threads import map_parallel, resolve_num_threads, weighted_sum
from ..data.csr import CSR
from ..kernels import Batches, Factors, Ranking
from ._memory import BLOCKS, PER_ROW, FitMemory
from ._parameters import Rule, integer_rule, number_rule
from ._sklearn import Transformer
from ._traits import Traits
from .sgd.batches import RECORD_BYTES, SORTED_BYTES
from .sgd.contrastive import ContrastiveTraining, draw_samples, unit
from .sgd.epochs import EpochModel
from .sgd.new_items import like_known_items
from .sgd.nights import UPDATE_SHARE
from .sgd.trainer import FOLD_IN_ROWS

if TYPE_CHECKING:
    from .._typing import BackendName, DType, Seed


NIGHT = 0.01  # the share of new events for which a partial fit runs UPDATE_SHARE of the epochs
HUGE_RATE = 1e6  # with higher learning rates, steps overflow whatever the loss


class ContrastiveMF(EpochModel, Transformer):
    r"""Ranking of implicit feedback by cosine similarity, with many negatives for each interaction.

    Users and items are unit vectors, and the score of a pair is their cosine. A step draws a sample N of items, which
    are the negatives of all interactions (u, i) of a batch of users, and lowers the sum of the sampled softmax loss (Wu
    et al. 2024) or of the cosine contrastive loss (Mao et al. 2021):

    .. math:: \log \Big( 1 + \sum_{j \in N} \exp \frac{x_u \cdot y_j - x_u \cdot y_i}{t} \Big), \qquad
        1 - x_u \cdot y_i + \frac{w}{|N|} \sum_{j \in N} \max(0, x_u \cdot y_j - m)

    Steps follow the gradient along the sphere, by Adagrad with one sum of squares for each vector. A user takes one
    step in an epoch, for all of the user's interactions together, so that the cost of an epoch hardly depends on their
    number. Only values above 0 count as interactions.

    Parameters
    ----------
    factors : int
        Number of factors: the length of the vectors.
    loss : {"softmax", "contrastive"}
        The loss.
    negatives : int
        Number of items in a sample of all items; the user's own are not left out. At most all items. Few of them are
        above the margin of the contrastive loss: on large catalogues, use more with it, and a `learning_rate` of about
        2 (4,096 instead of 1,024 raised NDCG@20 by 5 % on a held-out part of Gowalla).
    temperature : float
        t of the softmax: the lower, the more the negatives with the highest scores count.
    margin : float
        m of the contrastive loss: negatives with a lower cosine do not count.
    negative_weight : float
        w of the contrastive loss: weight of the negatives relative to the positive.
    degree_exponent : float
        a: the losses of a user with c interactions are weighted by ``c ** -a``. With 0, all interactions count the
        same; with 1, all users.
    batch_size : int
        Number of users in a batch.
    learning_rate : float
        Learning rate in the first epoch: the length of a vector's first step.
    learning_rate_decay : float
        Factor by which the learning rate is multiplied after each epoch.
    epochs : int
        Maximum number of passes over the users.
    early_stopping : float or None
        Stop when the loss of the held-out interactions (without any, the objective) has not fallen by more than this
        fraction of its lowest value for `patience` epochs.
    patience : int
        See `early_stopping`.
    validation_fraction : float
        Fraction of the interactions held out at random to measure the loss after each epoch, with negatives that are
        drawn once. With held-out interactions, the model ends with the vectors of the best epoch.
    warm_start : bool
        Start `fit` from the model's vectors. Users and items that are not among them are initialized as in a first fit.
    dtype : {"float32", "float64"} or NumPy dtype
        Data type of the vectors.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed of the initial vectors, the batches, the negatives and the split. With an int, fits of equal input are
        bit-identical on any number of threads.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : array, shape (n_users, factors)
        Unit vectors. Users without interactions have the direction of the mean user.
    item_factors : array, shape (n_items, factors)
        Unit vectors.
    n_iter_ : int
        Number of epochs run.
    history_ : dict of lists
        One entry per epoch: ``objective``, the weighted sum of the losses, and ``train_loss``, their weighted mean,
        accumulated during the epoch; ``validation_loss`` if interactions are held out; ``learning_rate``, and
        ``seconds`` since the fit began.
    backend_ : str
        The backend that the fit used.
    mean_squares_ : tuple of float
        What Adagrad's sums have grown to: of a user's vector on average, and of an item's for each of its interactions.
    interactions_ : CSR
        The interactions of the fit.

    References
    ----------
    J. Wu, X. Wang, X. Gao, J. Chen, H. Fu, T. Qiu, "On the Effectiveness of Sampled Softmax Loss for Item
    Recommendation", ACM Transactions on Information Systems, 2024.

    K. Mao, J. Zhu, J. Wang, Q. Dai, Z. Dong, X. Xiao, X. He, "SimpleX: A Simple and Strong Baseline for Collaborative
    Filtering", CIKM 2021.
    """

    bytes_per_pair: ClassVar[int] = 40  # while the matrix, its copy and the batches are in memory
    traits: ClassVar[Traits] = Traits(
        "implicit", "clicks, plays, purchases, each against many other items", "gradient of the cosine, softmax or CCL"
    )
    _fitted_state = (*EpochModel._fitted_state, "mean_squares_")
    _loss_name = "loss"
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {"loss": ("softmax", "contrastive")}
    _rules: ClassVar[dict[str, Rule]] = {
        "negatives": integer_rule(1),
        "temperature": number_rule(0, above=True),
        "margin": number_rule(-1),
        "negative_weight": number_rule(0),
        "degree_exponent": number_rule(0),
        "batch_size": integer_rule(1),
    }

    def __init__(
        self,
        *,
        factors: int = 64,
        loss: Literal["softmax", "contrastive"] = "softmax",
        negatives: int = 1024,
        temperature: float = 0.12,
        margin: float = 0.8,
        negative_weight: float = 100.0,
        degree_exponent: float = 0.5,
        batch_size: int = 256,
        learning_rate: float = 1.2,
        learning_rate_decay: float = 0.96,
        epochs: int = 60,
        early_stopping: float | None = None,
        patience: int = 3,
        validation_fraction: float = 0.0,
        warm_start: bool = False,
        dtype: DType = "float32",
        random_state: Seed = None,
        num_threads: int | None = None,
        backend: BackendName = "auto",
    ) -> None:
        self.factors = factors
        self.loss = loss
        self.negatives = negatives
        self.temperature = temperature
        self.margin = margin
        self.negative_weight = negative_weight
        self.degree_exponent = degree_exponent
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.dtype = dtype
        self.random_state = random_state
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Return ranges for the loss of this model and its learning rate."""
        softmax, decay = self.loss == "softmax", {"learning_rate_decay": (0.9, 1.0)}
        rate: dict[str, Any] = {"learning_rate": (0.2, 2.0, "log") if softmax else (0.3, 4.0, "log")}
        if softmax:
            return {"temperature": (0.03, 0.3, "log")} | rate | decay
        return {"margin": (0.0, 0.9), "negative_weight": (3.0, 1000.0, "log")} | rate | decay

    def fit_memory(self, n_users: int, n_items: int, n_pairs: int) -> FitMemory:
        """Estimate the memory of a fit from a matrix in memory."""
        number, f = np.dtype(self.dtype).itemsize, self.factors
        # In memory, as all batches move them: the items of an epoch. In files, if need be: its users, and the vectors
        # of the model, before and after it, and the best.
        copies = 3 if self.validation_fraction else 2
        in_files = ((copies + 1) * n_users + copies * n_items) * f * number
        of_users = (2 if self.validation_fraction else 1) * PER_ROW  # held-out interactions have batches, too
        sampled, batch = min(self.negatives, n_items), min(self.batch_size, n_users)
        of_batch = batch * (n_pairs // n_users * SORTED_BYTES + sampled * number) + 3 * sampled * f * number
        entries = max(0, n_pairs * self.bytes_per_pair - BLOCKS)  # in memory, no parts of them are read
        return FitMemory(
            entries=entries, vectors=n_users * of_users + n_items * PER_ROW, factors=in_files,
            fixed=n_items * f * number, largest=of_batch, disk=n_pairs * RECORD_BYTES, values=False, streams=True,
            files=True,
        )  # fmt: skip

    def iteration_work(self, n_users: int, n_items: int, n_pairs: int) -> float:
        """Estimate the cost of an epoch."""
        return n_users * min(self.negatives, n_items) * (4 + self.factors / 8) + n_pairs * (40 + self.factors)

    # Training

    def _training(
        self, train: CSR, held_out: CSR | None, rng: np.random.Generator, start: Factors | None = None,
        pool: Pool | None = None, files: FilePool | None = None,
    ) -> ContrastiveTraining:  # fmt: skip
        return ContrastiveTraining(self, train, held_out, rng, start, pool, files)

    def _initial(self, count: int, rng: np.random.Generator, state: Mapping[str, Any]) -> NDArray[Any]:
        return unit(rng.standard_normal((count, self.factors)))

    def _ranking(self) -> Ranking:
        """Return the loss as the kernels take it."""
        return Ranking(self.loss, float(self.temperature), float(self.margin), float(self.negative_weight))

    def _user_weights(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weight of each user's interactions, of which there are so many; their mean weight is 1."""
        weights: NDArray[np.float64] = np.maximum(counts, 1) ** -float(self.degree_exponent)
        total = weighted_sum(counts, weights)
        if len(weights) and not total > np.finfo(np.float64).tiny:
            raise refusal(
                ValueError,
                f"{parameter('degree_exponent')} must leave some user a weight above 0, got {self.degree_exponent!r}: "
                "lower it",
            )
        return weights * (counts.sum() / total) if len(weights) else weights

    def _night_epochs(self, run: int, share: float) -> range:
        """Return epochs at the learning rate of half of the fit; more of them if there are many events.

        On msweb and steam-200k, NDCG@20 after ten nights is 0.5 and 1.3 % below that of a fit, instead of 1.3 and 1.9 %
        at the rate of its end. With a popular item that is new, 3 % of msweb, it is 2 % below, and 6 % with no more
        epochs than on other nights.
        """
        nights = max(1, share // NIGHT)
        count = min(run, max(1, round(nights * UPDATE_SHARE * run)))
        return range(1 + run // 2, 1 + run // 2 + count)

    def _new_rows(
        self, rows: CSR, fixed: NDArray[Any], kind: str, rng: np.random.Generator, given: Any = None
    ) -> NDArray[Any]:  # fmt: skip
        """Return new users folded in, and new items between the mean item and known ones that are like them.

        Nearer to these, or near their users, they would be in too many lists after the few epochs of a partial fit.
        """
        if kind == "user":
            return self._fold_in(rows, fixed, kind)
        items = self._side("item")
        like = unit(like_known_items(rows, self._known_interactions(), items).astype(np.float64))
        mean = unit(items.mean(axis=0, dtype=np.float64)[None])
        noise = self._initial(rows.shape[0], rng, {})
        return unit(like + 2 * mean + noise / 2).astype(fixed.dtype)

    def _remedy(self) -> str:
        """Say what to change if gradients overflow."""
        if self.learning_rate > HUGE_RATE:
            return f"lower learning_rate, got {self.learning_rate!r}"
        if self.loss == "softmax":
            return f"raise temperature, got {self.temperature!r}"
        return f"lower negative_weight, got {self.negative_weight!r}"

    def _truth(self, rows: CSR) -> NDArray[Any]:
        return (rows.data > 0).astype(rows.data.dtype)

    def _link(self, scores: NDArray[Any], **state: Any) -> NDArray[Any]:
        return np.asarray(np.clip(scores, -1, 1))  # rounding

    def _are_known(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            return np.asarray(np.asarray(values, self.dtype) != 0)

    def _may_be_held_out(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(np.asarray(values, self.dtype) > 0)

    # Fold-in

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[Any]:
        positives = rows.filter(rows.data > 0)
        X = np.repeat(unit(self._mean_row("user")[None]).astype(fixed.dtype), rows.shape[0], axis=0)
        Y, squares = np.ascontiguousarray(fixed), np.zeros(len(fixed))
        # One sample for each step, the same for all users, so that a user's vector depends on the user alone.
        size = min(int(self.negatives), len(Y))
        samples = draw_samples(np.random.default_rng(0), int(self.epochs), len(Y), size)
        backend, order = self._backend(), np.zeros(len(samples), np.int64)

        @np.errstate(over="ignore", invalid="ignore")  # reported below
        def fold_in(first: int) -> float:
            part = slice(first, first + FOLD_IN_ROWS)
            taken = positives.take(np.arange(len(X))[part])
            indptr, indices = taken.indptr.astype(np.int64), np.ascontiguousarray(taken.indices, np.int32)
            return backend.contrastive_epoch(
                indptr, indices, Batches.of(indptr, indices, FOLD_IN_ROWS), order, samples, X[part], Y,
                np.zeros(len(X[part])), squares, np.ones(len(X[part])), self._ranking(), float(self.learning_rate),
                False, 1,
            )  # fmt: skip

        losses = map_parallel(fold_in, range(0, len(X), FOLD_IN_ROWS), resolve_num_threads(self.num_threads))
        if not (np.isfinite(losses).all() and np.isfinite(X).all()):
            raise OverflowError(f"folding in a new user overflows: {self._remedy()}")
        return X
