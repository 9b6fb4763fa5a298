"""`LightFM` with the logistic loss, over `alternant.kernels.logistic_epoch`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ... import kernels
from ..._utils.progress import progress_bar
from ...kernels import Factors
from ._checks import check_threads, checked_ids, checked_matrix, checked_values, checked_weights, refuse_features
from ._epochs import Epochs

PARAMETERS = (
    "no_components", "k", "n", "learning_schedule", "loss", "learning_rate", "rho", "epsilon", "item_alpha",
    "user_alpha", "max_sampled", "random_state",
)  # fmt: skip
PAIRWISE = ("warp", "bpr", "warp-kos")


class LightFM:
    r"""Matrix factorization of likes and dislikes by the logistic loss (Kula 2015), without features.

    Predicts :math:`z_{ui} = b_u + c_i + x_u \cdot y_i` and minimizes :math:`\sum w_{ui} (\log(1 + e^z) - t z)` over the
    stored pairs by Adagrad, where the target t is 1 for positive values and 0 for all others. Results are bit-identical
    on any number of threads.

    Parameters
    ----------
    no_components : int
        Number of factors.
    learning_schedule : {"adagrad"}
        The optimizer.
    loss : {"logistic"}
        The loss.
    learning_rate : float
        Learning rate of Adagrad.
    item_alpha, user_alpha : float
        Strength of the L2 penalty: after an epoch, all rows of the side are divided by ``exp(alpha l)``, with l the sum
        of the learning rates of its steps.
    random_state : int, numpy.random.RandomState or None
        Seed.
    k, n, rho, epsilon, max_sampled
        Of losses and schedules that are not offered; not used.

    Attributes
    ----------
    item_embeddings, user_embeddings : float32 arrays, shapes (n_items, no_components) and (n_users, no_components)
        The factors; they may be written to and replaced.
    item_biases, user_biases : float32 arrays, shapes (n_items,) and (n_users,)
        The biases.
    item_embedding_gradients, user_embedding_gradients, item_bias_gradients, user_bias_gradients : float32 arrays
        Adagrad's sums of squared gradients, from which `fit_partial` continues.

    Raises
    ------
    NotImplementedError
        If another loss or schedule is asked for.
    ValueError
        If a parameter is out of range.

    References
    ----------
    M. Kula, "Metadata Embeddings for User and Item Cold-start Recommendations", CBRecSys 2015.
    """

    random_state: np.random.RandomState
    user_embeddings: Any
    item_embeddings: Any
    user_biases: Any
    item_biases: Any
    user_embedding_gradients: Any
    item_embedding_gradients: Any
    user_bias_gradients: Any
    item_bias_gradients: Any

    def __init__(
        self,
        no_components: int = 10,
        k: int = 5,
        n: int = 10,
        learning_schedule: str = "adagrad",
        loss: str = "logistic",
        learning_rate: float = 0.05,
        rho: float = 0.95,
        epsilon: float = 1e-6,
        item_alpha: float = 0.0,
        user_alpha: float = 0.0,
        max_sampled: int = 10,
        random_state: Any = None,
    ) -> None:
        self.no_components = no_components
        self.k = k
        self.n = n
        self.learning_schedule = learning_schedule
        self.loss = loss
        self.learning_rate = learning_rate
        self.rho = rho
        self.epsilon = epsilon
        self.item_alpha = item_alpha
        self.user_alpha = user_alpha
        self.max_sampled = max_sampled
        self.random_state = _random_state(random_state)
        self._check_params()
        self._reset_state()

    def fit(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        sample_weight: Any = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> Self:
        """Fit the model from new random factors; see `fit_partial`."""
        previous = dict(self.__dict__)
        self._reset_state()
        try:
            return self.fit_partial(
                interactions, user_features, item_features, sample_weight, epochs, num_threads, verbose
            )
        except BaseException:
            self.__dict__.update(previous)
            raise

    def fit_partial(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        sample_weight: Any = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> Self:
        """Fit the model, continuing from its factors if it has any.

        Parameters
        ----------
        interactions : sparse matrix, shape (n_users, n_items)
            The pairs to learn from: positive values are likes, all other stored values dislikes.
        user_features, item_features : None, or the identity
            Not offered.
        sample_weight : coo_matrix, shape (n_users, n_items), optional
            Weights of the pairs, which are stored in the same order.
        epochs : int
            Number of passes over the pairs.
        num_threads : int
            Number of threads.
        verbose : bool
            Whether to show a progress bar.

        Returns
        -------
        self

        Raises
        ------
        NotImplementedError
            If features are passed.
        ValueError
            If the input is invalid, or the fit diverges; the model is left unchanged.
        """
        self._check_params()
        check_threads(num_threads)
        pairs, liked = checked_values(interactions)
        shape = pairs.shape
        refuse_features(user_features, "user", shape[0])
        refuse_features(item_features, "item", shape[1])
        weight = checked_weights(pairs, sample_weight)
        state = self._state() if self.user_embeddings is not None else self._initial(shape)
        if (len(state[0].X), len(state[0].Y)) != shape:
            raise ValueError(
                f"interactions must have the shape of the first fit, {len(state[0].X), len(state[0].Y)}, got {shape}: "
                "call fit to start again"
            )
        if epochs > 0 and pairs.nnz:
            seed = self.random_state.randint(2**31)
            runs = Epochs(pairs.row, pairs.col, weight, liked, shape, state[0].X.shape[1], seed, num_threads)
            with progress_bar(epochs, bool(verbose), desc="LightFM", unit=" epochs") as progress:
                state = runs.run(*state, epochs, self.learning_rate, (self.user_alpha, self.item_alpha), progress)
        self._set_state(*state)
        return self

    def predict(
        self,
        user_ids: Any,
        item_ids: Any,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
    ) -> NDArray[np.float32]:
        """Return the scores z of pairs.

        Parameters
        ----------
        user_ids : int, or array of ints, shape (p,)
            The users; a single one is paired with all items passed.
        item_ids : int, or array of ints, shape (p,)
            The items.
        item_features, user_features : None, or the identity
            Not offered.
        num_threads : int
            Number of threads.

        Returns
        -------
        float32 array, shape (p,)

        Raises
        ------
        ValueError
            Before a fit, or if an id is not known.
        """
        factors, _ = self._fitted(user_features, item_features, num_threads)
        items = np.atleast_1d(checked_ids("item_ids", item_ids, len(factors.Y)))
        users = checked_ids("user_ids", user_ids, len(factors.X))
        if users.ndim == 0:
            users = np.repeat(users, len(items))
        if users.shape != items.shape:
            raise ValueError(
                f"user_ids and item_ids must have the same length, got {len(users)} and {len(items)}: repeat the users"
            )
        scores = np.empty(len(users), np.float32)
        kernels.score_pairs(users, items, factors.X, factors.Y, scores, num_threads)
        return np.asarray(scores + factors.row_bias[users] + factors.column_bias[items])

    def predict_rank(
        self,
        test_interactions: Any,
        train_interactions: Any = None,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        check_intersections: bool = True,
    ) -> sparse.csr_matrix:
        """Return the rank of each stored pair among all items of its user, from 0; the worst one of equal scores.

        Parameters
        ----------
        test_interactions : sparse matrix, shape (n_users, n_items)
            The pairs.
        train_interactions : sparse matrix, shape (n_users, n_items), optional
            Pairs whose items are left out of the ranking.
        item_features, user_features : None, or the identity
            Not offered.
        num_threads : int
            Number of threads.
        check_intersections : bool
            Whether to raise a ValueError if the two matrices share pairs.

        Returns
        -------
        csr_matrix of float32, shape (n_users, n_items)
        """
        factors, _ = self._fitted(user_features, item_features, num_threads)
        shape = len(factors.X), len(factors.Y)
        test: sparse.csr_matrix = checked_matrix("test_interactions", test_interactions, shape)
        left_out = None
        if train_interactions is not None:
            train = checked_matrix("train_interactions", train_interactions, shape)
            shared = int(test.multiply(train).nnz) if check_intersections else 0
            if shared:
                raise ValueError(
                    f"test_interactions and train_interactions share {shared} pairs, which biases the evaluation: "
                    "split the data anew, or pass check_intersections=False"
                )
            left_out = train.indptr.astype(np.int64), train.indices
        ones = (np.ones((rows, 1), np.float32) for rows in shape)
        users = np.hstack([factors.X, factors.row_bias[:, None], next(ones)])
        items = np.hstack([factors.Y, next(ones), factors.column_bias[:, None]])
        above, equal = np.empty(test.nnz, np.int64), np.empty(test.nnz, np.int64)
        kernels.count_above(
            users, items, left_out, test.indptr.astype(np.int64), test.indices, above, equal, num_threads
        )
        test.data = (above + equal).astype(np.float32)
        return test

    def get_item_representations(self, features: Any = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the biases and the factors of the items; other `features` than the identity are not offered."""
        factors, _ = self._fitted(None, features, 1)
        return factors.column_bias, factors.Y

    def get_user_representations(self, features: Any = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the biases and the factors of the users; other `features` than the identity are not offered."""
        factors, _ = self._fitted(features, None, 1)
        return factors.row_bias, factors.X

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn's
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; if one is refused, none is set."""
        for name in params:
            if name not in PARAMETERS:
                raise ValueError(f"LightFM has no parameter {name!r}; it has {', '.join(PARAMETERS)}")
        previous = self.get_params()
        if "random_state" in params:
            params["random_state"] = _random_state(params["random_state"])
        self.__dict__.update(params)
        try:
            self._check_params()
        except (ValueError, NotImplementedError):
            self.__dict__.update(previous)
            raise
        return self

    # Internals

    def _check_params(self) -> None:
        if self.loss in PAIRWISE:
            raise NotImplementedError(
                f"there are no pairwise losses behind this interface, got loss={self.loss!r}: use alternant.BPR, which "
                "has those of BPR and WARP, or loss='logistic' if there are dislikes"
            )
        if self.learning_schedule == "adadelta":
            raise NotImplementedError("learning_schedule='adadelta' is not offered here: use 'adagrad'")
        for name, known in (("loss", "logistic"), ("learning_schedule", "adagrad")):
            if getattr(self, name) != known:
                raise ValueError(f"{name} must be {known!r}, got {getattr(self, name)!r}")
        for name in ("no_components", "max_sampled"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        for name in ("item_alpha", "user_alpha"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)!r}")

    def _reset_state(self) -> None:
        for side in ("item", "user"):
            for part in ("embeddings", "embedding_gradients", "biases", "bias_gradients"):
                setattr(self, f"{side}_{part}", None)

    def _initial(self, shape: tuple[int, int]) -> tuple[Factors, Factors]:
        """Draw factors as LightFM does, items first; sums of squares start at 1."""
        f, drawn = self.no_components, {}
        for side, rows in (("item", shape[1]), ("user", shape[0])):
            drawn[side] = ((self.random_state.rand(rows, f) - 0.5) / f).astype(np.float32)
        biases = (np.zeros(rows, np.float32) for rows in shape)
        factors = Factors(drawn["user"], drawn["item"], *biases)
        return factors, Factors(*map(np.ones_like, factors))

    def _state(self) -> tuple[Factors, Factors]:
        """Return the factors and Adagrad's sums."""
        names = ("user_embedding", "item_embedding"), ("user_bias", "item_bias")
        factors = [getattr(self, name + "s") for name in names[0]] + [getattr(self, name + "es") for name in names[1]]
        squares = [getattr(self, f"{name}_gradients") for name in (*names[0], *names[1])]
        plain = [[np.ascontiguousarray(part, np.float32) for part in parts] for parts in (factors, squares)]
        return Factors(*plain[0]), Factors(*plain[1])

    def _set_state(self, factors: Factors, squares: Factors) -> None:
        self.user_embeddings, self.item_embeddings, self.user_biases, self.item_biases = factors
        self.user_embedding_gradients, self.item_embedding_gradients, *gradients = squares
        self.user_bias_gradients, self.item_bias_gradients = gradients

    def _fitted(self, user_features: Any, item_features: Any, num_threads: int) -> tuple[Factors, Factors]:
        if self.user_embeddings is None:
            raise ValueError("the model has no factors yet: call fit first")
        check_threads(num_threads)
        state = self._state()
        refuse_features(user_features, "user", len(state[0].X))
        refuse_features(item_features, "item", len(state[0].Y))
        return state


def _random_state(seed: Any) -> np.random.RandomState:
    return seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
