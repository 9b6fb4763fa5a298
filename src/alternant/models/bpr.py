"""Bayesian personalized ranking of implicit feedback, and WARP, by stochastic gradient descent on triples."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from .._utils.threads import resolve_num_threads
from .._utils.validation import check_boolean
from ..data.csr import CSR
from ._fit_loop import Callback, FitOptions
from ._memory import BLOCKS, PER_ROW, FitMemory
from ._parameters import Rule, integer_rule, none_or, number_rule
from ._traits import Traits
from .sgd.epochs import EpochModel
from .sgd.pairwise import block_count, round_count
from .sgd.pairwise_model import PairwiseModel
from .sgd.triples import DRAWN_TRIPLES

if TYPE_CHECKING:
    from .._typing import Auto, BackendName, DType, Featured, Rated, Seed


class BPR(PairwiseModel):
    r"""Pairwise ranking of implicit feedback: items of a user are ranked above others.

    The score of an item is ``c_i + x_u . y_i``. In each epoch, a negative j is drawn for every interaction (u, i), and
    a step lowers

    .. math:: \ell(d) + \tfrac12 (\lambda_u |x_u|^2 + \lambda_i |y_i|^2 + \lambda_j |y_j|^2
              + \lambda_c (c_i^2 + c_j^2)), \qquad d = c_i - c_j + x_u \cdot (y_i - y_j)

    where the loss is ``log(1 + exp(-d))`` in BPR (Rendle et al. 2009). Most negatives are ranked low already, and teach
    little: as in WARP (Weston et al. 2011), up to `max_sampled` are drawn, and the first with ``d < 1`` is taken.
    WARP's loss is ``1 - d``, weighted by the harmonic number of the rank that the number of draws suggests, relative to
    that of the last rank. Only values above 0 count as interactions.

    With features of users and items in `fit`, vectors are also drawn to what these predict. After each epoch from the
    fifth on (with `warm_start`, from the first), the vectors of a side (of items, with their biases) are regressed on
    the features, and those of a row with n interactions move ``w / (w + n)`` of the way to the prediction, times the
    learning rate relative to that of the first epoch. Rows without interactions are what their features predict. The
    objective in `history_` leaves these moves out.

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
    feature_weight : float
        w: a row's features count as much as this many interactions. With 0, they count for rows without interactions
        only.
    feature_regularization : float, "auto", or a pair (users, items)
        Strength of the ridge regression on features, relative to their mean square; see `ImplicitALS`.
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
    items_of_fit_ : int
        Number of items of the last fit: `partial_fit` has added those after them.
    feature_regularization_ : tuple
        The strengths for users and items: None without features, infinite if they were left out.
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
    _fitted_state = (*EpochModel._fitted_state, "mean_squares_", "items_of_fit_", "feature_regularization_")
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "loss": ("bpr", "warp"),
        "sampling": ("uniform", "popularity", "adaptive"),
        "optimizer": ("adagrad", "sgd"),
    }
    _rules: ClassVar[dict[str, Rule]] = {
        "adaptive_rate": number_rule(0, above=True),
        "feature_weight": number_rule(0),
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
        feature_weight: float = 3.0,
        feature_regularization: float | tuple[float | Auto, float | Auto] | Auto = "auto",
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
        self.feature_weight = feature_weight
        self.feature_regularization = feature_regularization
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

    def fit(
        self,
        interactions: Rated,
        y: Any = None,
        *,
        user_features: Featured | None = None,
        item_features: Featured | None = None,
        validation: Rated | None = None,
        callback: Callback | None = None,
        show_progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 1,
        memory_limit: int | str | None = None,
    ) -> Self:
        """Learn the factors.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            The interactions, of which those above 0 count. From a store (`Interactions.from_parquet`), they are read in
            parts.
        y : None
            Not used; present for compatibility with scikit-learn.
        user_features, item_features : Features, or sparse matrix or array, or dense array, shape (n, d), optional
            Features of the users and of the items. `Features` are matched by id, and need `Interactions`; rows of a
            matrix are in the order of the users (items), its columns should be on similar scales.
        validation : as `interactions`, of the same shape, optional
            Held-out pairs on which the loss is measured after each epoch, instead of a random `validation_fraction`.
        callback : callable, optional
            Called after each epoch with a `FitState`; the fit stops when it returns True.
        show_progress : bool, optional
            Whether to show a progress bar on stderr. By default, only on a terminal.
        checkpoint : path, optional
            A folder in which the state of the fit is saved after each epoch. If it contains the state of a fit with the
            same parameters to the same data, this fit resumes from there, and ends with identical factors.
        every : int
            With `checkpoint`: save it after this many epochs, and at the end.
        memory_limit : int or str, optional
            The resident memory that the fit may take, in bytes or as a string such as "4GB", without that of the
            features; a limit that is too low is refused before the fit. What does not fit is kept in files; the factors
            do not depend on it.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is invalid; the model is left unchanged.
        OverflowError
            If the fit diverges because `learning_rate` is too large; the model is left unchanged.
        MemoryError
            If the fit would not fit in memory.

        Notes
        -----
        Ctrl-C takes effect between two epochs and leaves the model of the last complete epoch.
        """
        options = FitOptions(callback, "iteration", show_progress, checkpoint, every)
        return self._fit_epochs(interactions, y, validation, options, memory_limit, (user_features, item_features))

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
