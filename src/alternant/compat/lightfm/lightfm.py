"""`LightFM`: the logistic loss over `alternant.kernels.logistic_epoch`, the ranking losses over those of `BPR`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ... import kernels
from ..._utils.progress import progress_bar
from ...kernels import Factors
from ._checks import (
    check_count,
    check_params,
    checked_ids,
    checked_matrix,
    checked_values,
    checked_weights,
    random_state_of,
)
from ._epochs import Epochs, divided
from ._features import FeatureMap, represented, run_epochs
from ._ranking import RankingEpochs

PARAMETERS = (
    "no_components", "k", "n", "learning_schedule", "loss", "learning_rate", "rho", "epsilon", "item_alpha",
    "user_alpha", "max_sampled", "random_state",
)  # fmt: skip
RANKING = ("warp", "bpr")
STATE = (
    "user_embeddings", "item_embeddings", "user_biases", "item_biases", "user_embedding_gradients",
    "item_embedding_gradients", "user_bias_gradients", "item_bias_gradients",
)  # fmt: skip


class LightFM:
    r"""Matrix factorization of likes and dislikes, in which users and items are sums of embeddings (Kula 2015).

    Predicts :math:`z_{ui} = b_u + c_i + x_u \cdot y_i`, where x and b (y and c) are sums over the features of a user
    (item), of which each has only its own if there are no others. The logistic loss is
    :math:`\sum w_{ui} (\log(1 + e^z) - t z)` over the stored pairs, where the target t is 1 for positive values and 0
    for all others; WARP and BPR rank positive values above others. Steps are those of Adagrad. Results are
    bit-identical on any number of threads.

    With features, an epoch takes steps in the representations x, b, y and c, and the embeddings then follow by a ridge
    regression on the features; LightFM takes each step in the embeddings.

    Parameters
    ----------
    no_components : int
        Number of factors.
    learning_schedule : {"adagrad"}
        The optimizer.
    loss : {"logistic", "warp", "bpr"}
        The loss; see `alternant.BPR` for the latter two.
    learning_rate : float
        Learning rate of Adagrad.
    item_alpha, user_alpha : float
        Strength of the L2 penalty: after an epoch, all rows of the side are divided by ``exp(alpha l)``, with l the sum
        of the learning rates of its steps.
    random_state : int, numpy.random.RandomState or None
        Seed.
    max_sampled : int
        Most negatives to draw for a positive pair in WARP.
    k, n, rho, epsilon
        Of losses and schedules that are not offered; not used.

    Attributes
    ----------
    item_embeddings, user_embeddings : float32 arrays, shape (n_features, no_components)
        The embeddings of the features, of items and of users; they may be written to and replaced.
    item_biases, user_biases : float32 arrays, shape (n_features,)
        The biases. Those of users have no effect on rankings; the ranking losses leave them at 0.
    item_embedding_gradients, user_embedding_gradients, item_bias_gradients, user_bias_gradients : float32 arrays
        Adagrad's sums of squared gradients, from which `fit_partial` continues: of the items and users, a row each. A
        partial fit with features may have more rows or fewer, and keeps the sums of all others.

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
        self.random_state = random_state_of(random_state)
        check_params(self.get_params())
        for name in STATE:
            setattr(self, name, None)

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
        return self._fit(
            False, interactions, (user_features, item_features), sample_weight, epochs, num_threads, verbose
        )

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
        user_features, item_features : sparse matrix, shape (n_users, n_features) or (n_items, n_features), optional
            Weights of the features of each user (item), as `data.Dataset` builds them. By default the identity.
        sample_weight : coo_matrix, shape (n_users, n_items), optional
            Weights of the pairs, which are stored in the same order; with the logistic loss only.
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
            If weights are passed with a ranking loss.
        ValueError
            If the input is invalid, or the fit diverges; the model and its random state are left unchanged.
        """
        return self._fit(
            True, interactions, (user_features, item_features), sample_weight, epochs, num_threads, verbose
        )

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
        item_features, user_features : as for `fit`, optional
            Of all users and items that ids may refer to, which may be new ones.
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
        factors = self._fitted(user_features, item_features, num_threads)
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
        item_features, user_features : as for `fit`, optional
            Of all users and items that ids may refer to, which may be new ones.
        num_threads : int
            Number of threads.
        check_intersections : bool
            Whether to raise a ValueError if the two matrices share pairs.

        Returns
        -------
        csr_matrix of float32, shape (n_users, n_items)
        """
        X, Y, b, c = self._fitted(user_features, item_features, num_threads)
        given = getattr(test_interactions, "shape", (0, 0))  # features may have rows for more users and items
        n_users = len(X) if user_features is None else min(len(X), given[0])
        n_items = len(Y) if item_features is None else min(len(Y), given[-1])
        shape = n_users, n_items
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
        users = np.hstack([X[:n_users], b[:n_users, None], next(ones)])
        items = np.hstack([Y[:n_items], next(ones), c[:n_items, None]])
        above, equal = np.empty(test.nnz, np.int64), np.empty(test.nnz, np.int64)
        kernels.count_above(
            users, items, left_out, test.indptr.astype(np.int64), test.indices, above, equal, num_threads
        )
        test.data = (above + equal).astype(np.float32)
        return test

    def get_item_representations(self, features: Any = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the biases and the representations of items with these features (None: the identity)."""
        factors = self._fitted(None, features, 1)
        return factors.column_bias, factors.Y

    def get_user_representations(self, features: Any = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the biases and the representations of users with these features (None: the identity)."""
        factors = self._fitted(features, None, 1)
        return factors.row_bias, factors.X

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn's
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; if one is refused, none is set."""
        for name in params:
            if name not in PARAMETERS:
                raise ValueError(f"LightFM has no parameter {name!r}; it has {', '.join(PARAMETERS)}")
        if "random_state" in params:
            params["random_state"] = random_state_of(params["random_state"])
        check_params(self.get_params() | params)
        self.__dict__.update(params)
        return self

    # Internals

    def _fit(
        self, continues: bool, interactions: Any, features: tuple[Any, Any], sample_weight: Any, epochs: int,
        num_threads: int, verbose: bool,
    ) -> Self:  # fmt: skip
        check_params(self.get_params())
        check_count("num_threads", num_threads)
        check_count("epochs", epochs, 0)
        pairs, liked = checked_values(interactions)
        weight = checked_weights(pairs, sample_weight)
        if self.loss in RANKING and (weight != 1).any():
            raise NotImplementedError(f"sample_weight is not offered with loss={self.loss!r}: use loss='logistic'")
        fitted = continues and self.user_embeddings is not None
        maps = self._maps(features, pairs.shape, fitted)
        drawn = self.random_state.get_state()
        try:
            embeddings, squares = self._state() if fitted else self._initial(maps, pairs.shape)
            if epochs > 0 and (liked.any() if self.loss in RANKING else pairs.nnz):
                runs = self._runs(pairs, liked, weight, embeddings.X.shape[1], num_threads)
                alpha = self.user_alpha, self.item_alpha
                with progress_bar(epochs, bool(verbose), desc="LightFM", unit=" epochs") as progress:
                    of_rows, others = divided(squares, pairs.shape)
                    embeddings, of_rows = run_epochs(
                        runs, embeddings, of_rows, maps, epochs, self.learning_rate, alpha, progress
                    )
                    squares = Factors(*map(np.concatenate, zip(of_rows, others, strict=True)))
        except BaseException:
            self.random_state.set_state(drawn)
            raise
        for name, part in zip(STATE, (*embeddings, *squares), strict=True):
            setattr(self, name, part)
        return self

    def _maps(
        self, features: tuple[Any, Any], shape: tuple[int, int], fitted: bool
    ) -> tuple[FeatureMap, FeatureMap]:
        """Return what features make of embeddings, which must be those of the first fit."""
        widths = (len(self.user_embeddings), len(self.item_embeddings)) if fitted else (None, None)
        users, items = (
            FeatureMap(kind, given, count, width)
            for kind, given, count, width in zip(("user", "item"), features, shape, widths, strict=True)
        )
        if fitted and any(one.features is None and one.count != one.width for one in (users, items)):
            raise ValueError(
                f"interactions must have the shape of the first fit, {widths}, got {shape}: call fit to start again, "
                "or pass the features that it had"
            )
        return users, items

    def _runs(
        self, pairs: Any, liked: NDArray[np.float32], weight: NDArray[np.float32], width: int, num_threads: int
    ) -> Epochs | RankingEpochs:
        """Return what runs epochs over the pairs."""
        seed = self.random_state.randint(2**31)
        if self.loss not in RANKING:
            return Epochs(pairs.row, pairs.col, weight, liked, pairs.shape, width, seed, num_threads)
        likes = liked > 0
        return RankingEpochs(
            pairs.row[likes], pairs.col[likes], pairs.shape, self.loss, self.max_sampled, width, self.learning_rate,
            seed, num_threads,
        )  # fmt: skip

    def _initial(self, maps: tuple[FeatureMap, FeatureMap], shape: tuple[int, int]) -> tuple[Factors, Factors]:
        """Draw embeddings as LightFM does, items first; sums of squares, of the rows, start at 1."""
        f, drawn, widths = self.no_components, {}, [one.width for one in maps]
        for side, count in (("item", widths[1]), ("user", widths[0])):
            drawn[side] = ((self.random_state.rand(count, f) - 0.5) / f).astype(np.float32)
        embeddings = Factors(drawn["user"], drawn["item"], *(np.zeros(count, np.float32) for count in widths))
        of_rows = [(rows, f) for rows in shape] + [(rows,) for rows in shape]
        return embeddings, Factors(*(np.ones(of, np.float32) for of in of_rows))

    def _state(self) -> tuple[Factors, Factors]:
        """Return the factors and Adagrad's sums."""
        parts = [np.ascontiguousarray(getattr(self, name), np.float32) for name in STATE]
        return Factors(*parts[:4]), Factors(*parts[4:])

    def _fitted(self, user_features: Any, item_features: Any, num_threads: int) -> Factors:
        """Return the representations of the users and items with these features."""
        if self.user_embeddings is None:
            raise ValueError("the model has no factors yet: call fit first")
        check_count("num_threads", num_threads)
        embeddings, _ = self._state()
        (X, b), (Y, c) = represented(embeddings, (
            FeatureMap("user", user_features, None, len(embeddings.X)),
            FeatureMap("item", item_features, None, len(embeddings.Y)),
        ))  # fmt: skip
        return Factors(X, Y, b, c)
