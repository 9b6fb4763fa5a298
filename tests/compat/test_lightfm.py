"""`alternant.compat.lightfm` against formulas in plain NumPy; LightFM itself is not needed."""

import copy
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from scipy import sparse

from alternant.compat import lightfm
from alternant.compat.lightfm import evaluation
from alternant.compat.lightfm._ranking import _Ranking
from alternant.compat.lightfm.cross_validation import random_train_test_split
from alternant.compat.lightfm.data import Dataset

STATE = ("user_embeddings", "item_embeddings", "user_biases", "item_biases")
SUMS = ("user_embedding_gradients", "item_embedding_gradients", "user_bias_gradients", "item_bias_gradients")


def pairs(users=7, items=9, seed=0, share=0.4):
    """Likes (1) and dislikes (-1)."""
    rng = np.random.default_rng(seed)
    table = rng.choice([-1.0, 1.0], (users, items)) * (rng.random((users, items)) < share)
    return sparse.coo_matrix(table.astype(np.float32))


def fitted(matrix=None, epochs=3, **options):
    model = lightfm.LightFM(**({"no_components": 4, "random_state": 3} | options))
    return model.fit(pairs() if matrix is None else matrix, epochs=epochs)


def state(model, names=STATE):
    return [getattr(model, name).copy() for name in names]


def scores_by_formula(model):
    X, Y, b, c = state(model)
    return X @ Y.T + b[:, None] + c


# Fits


def test_initial_factors_are_those_of_lightfm():
    model = fitted(epochs=0)
    rng = np.random.RandomState(3)
    np.testing.assert_array_equal(model.item_embeddings, ((rng.rand(9, 4) - 0.5) / 4).astype(np.float32))
    np.testing.assert_array_equal(model.user_embeddings, ((rng.rand(7, 4) - 0.5) / 4).astype(np.float32))
    assert not model.user_biases.any()
    assert not model.item_biases.any()
    assert all((sums == 1).all() for sums in state(model, SUMS))


def test_an_epoch_takes_weighted_steps_of_adagrad():
    matrix = pairs()
    weights = sparse.coo_matrix((np.linspace(0, 2, matrix.nnz, dtype=np.float32), (matrix.row, matrix.col)))
    model = fitted(matrix, epochs=0, learning_rate=0.1)
    parts, sums = ([part.astype(float) for part in state(model, names)] for names in (STATE, SUMS))
    X, Y, b, c = parts
    for u, i, r, w in zip(matrix.row, matrix.col, matrix.data, weights.data, strict=True):  # few: one block, by user
        g = w * (1 / (1 + np.exp(-(b[u] + c[i] + X[u] @ Y[i]))) - (r > 0))
        for part, total, row, gradient in zip(parts, sums, (u, i, u, i), (g * Y[i], g * X[u], g, g), strict=True):
            total[row] += gradient**2
            part[row] -= 0.1 * gradient / np.sqrt(total[row])
    model.fit_partial(matrix, sample_weight=weights)
    for name, expected in zip(STATE + SUMS, parts + sums, strict=True):
        np.testing.assert_allclose(getattr(model, name), expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_factors_are_the_same_bits_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("alternant.compat.lightfm._epochs.WORK_PER_THREAD", 1)
    matrix = pairs(200, 150, share=0.2)
    one, three = (lightfm.LightFM(random_state=0).fit(matrix, epochs=2, num_threads=t) for t in (1, 3))
    for first, second in zip(state(one), state(three), strict=True):
        assert first.tobytes() == second.tobytes()


def test_likes_are_separated_from_dislikes_that_were_left_out():
    groups = np.sign(np.kron(np.array([[1, -1], [-1, 1]]), np.ones((30, 20))))
    left_out = np.random.default_rng(0).random(groups.shape) < 0.2
    model = fitted(sparse.coo_matrix(groups * ~left_out), epochs=10)
    scores = scores_by_formula(model)
    assert ((scores > 0) == (groups > 0))[left_out].mean() > 0.95


def test_a_partial_fit_continues_and_a_fit_starts_again():
    model = fitted(epochs=1)
    before = state(model, SUMS)
    model.fit_partial(pairs(), epochs=1)
    after = state(model, SUMS)
    assert all((new >= old).all() and (new > old).any() for new, old in zip(after, before, strict=True))
    model.fit(pairs(), epochs=0)
    assert all((sums == 1).all() for sums in state(model, SUMS))
    again = fitted(epochs=2)
    assert again.fit(pairs(), epochs=1) is again, "the random state has advanced"
    assert not np.array_equal(again.user_embeddings, fitted(epochs=1).user_embeddings)


def test_the_penalty_shrinks_all_rows_by_the_learning_rates_of_the_steps():
    matrix = pairs()
    plain, penalized = fitted(epochs=1), fitted(epochs=1, user_alpha=0.5, item_alpha=0.2)
    length = 0.0
    for (part, bias), rows in (((SUMS[0], SUMS[2]), matrix.row), ((SUMS[1], SUMS[3]), matrix.col)):
        rates = np.hstack([getattr(plain, part), getattr(plain, bias)[:, None]]) ** -0.5
        mean = 0.05 * (1 + rates.mean(axis=1)) / 2  # between those before and after the epoch
        length += mean[rows].sum() / 2
    for name, alpha in zip(STATE, (0.5, 0.2, 0.5, 0.2), strict=True):
        np.testing.assert_allclose(
            getattr(penalized, name), np.exp(-alpha * length) * getattr(plain, name), rtol=1e-5, atol=1e-9
        )


def groups():
    """Likes within groups; the group is a feature of users and items, each of which is a feature of its own, too."""
    rng, n = np.random.default_rng(0), 40
    of_users, of_items = np.arange(n) % 4, np.arange(n) % 4
    likes = (of_users[:, None] == of_items) & (rng.random((n, n)) < 0.6)
    F = sparse.csr_matrix(np.hstack([np.eye(n), np.eye(4)[of_users]]))
    return sparse.coo_matrix(likes.astype(np.float32)), F, of_items


@pytest.mark.parametrize("loss", ["logistic", "warp", "bpr"])
def test_new_rows_are_known_by_their_features(loss):
    likes, F, group = groups()
    if loss == "logistic":
        likes = sparse.coo_matrix(np.where(likes.toarray() > 0, 1.0, -1.0))
    model = lightfm.LightFM(no_components=6, loss=loss, random_state=0, learning_rate=0.1)
    model.fit(likes, F, F, epochs=15)
    assert model.user_embeddings.shape == model.item_embeddings.shape == (44, 6)
    assert model.item_embedding_gradients.shape == (40, 6)
    b, X = model.get_user_representations(F)
    np.testing.assert_allclose(X, F @ model.user_embeddings, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(b, F @ model.user_biases, rtol=1e-5, atol=1e-7)
    new = sparse.csr_matrix(np.hstack([np.zeros((4, 40)), np.eye(4)]))
    scores = np.array([model.predict(np.full(40, u), np.arange(40), F, new) for u in range(4)])
    best = np.argsort(-scores, axis=1)[:, :10]
    assert (group[best] == np.arange(4)[:, None]).mean() > 0.9
    assert evaluation.auc_score(model, likes.tocsr() > 0, None, F, F).mean() > 0.9


def test_embeddings_follow_rows_by_ridge_regression():
    likes, F, _ = groups()
    model = lightfm.LightFM(no_components=6, random_state=0).fit(likes, F, F, epochs=0)
    E = np.column_stack([model.item_embeddings, model.item_biases]).astype(float)
    rows = lightfm.LightFM(no_components=6, random_state=0).fit(likes, epochs=0)  # the same model, row by row
    for side in ("item", "user"):
        for name in (f"{side}_embeddings", f"{side}_biases"):
            setattr(rows, name, (F @ getattr(model, name)).astype(np.float32))
    before = np.column_stack([rows.item_embeddings, rows.item_biases])
    rows.random_state.set_state(model.random_state.get_state())
    rows.fit_partial(likes)
    model.fit_partial(likes, F, F)
    D = np.column_stack([rows.item_embeddings, rows.item_biases]) - before
    ridge = 0.1 * (F.toarray() ** 2).sum() / 44
    E += np.linalg.solve((F.T @ F).toarray() + ridge * np.eye(44), F.T @ D)
    np.testing.assert_allclose(model.item_embeddings, E[:, :-1], rtol=0, atol=1e-3 * np.abs(D).max())
    np.testing.assert_allclose(model.item_biases, E[:, -1], rtol=0, atol=1e-3 * np.abs(D).max())
    np.testing.assert_array_equal(model.item_embedding_gradients, rows.item_embedding_gradients)


def test_features_may_have_rows_for_more_users_and_items_than_the_interactions():
    likes, F, _ = groups()
    few = likes.tocsr()[:30, :35].tocoo()
    model = lightfm.LightFM(no_components=6, random_state=0).fit(few, F, F, epochs=2)
    same = lightfm.LightFM(no_components=6, random_state=0).fit(few, F[:30], F[:35], epochs=2)
    np.testing.assert_array_equal(model.user_embeddings, same.user_embeddings)
    assert model.predict([39], [39], F, F).shape == (1,)
    ranks = model.predict_rank(few.tocsr(), None, F, F)
    np.testing.assert_array_equal(ranks.toarray(), same.predict_rank(few.tocsr(), None, F[:35], F[:30]).toarray())
    assert model.predict_rank(likes.tocsr(), None, F, F).shape == (40, 40)


def test_a_partial_fit_on_other_rows_keeps_the_sums():
    likes, F, _ = groups()
    model = lightfm.LightFM(no_components=6, random_state=0).fit(likes, F, F, epochs=2)
    sums = state(model, SUMS)
    model.fit_partial(likes.tocsr()[:30].tocoo(), F, F)
    for before, after in zip(sums[:1] + sums[2:3], state(model, SUMS[:1] + SUMS[2:3]), strict=True):
        assert (after[:30] >= before[:30]).all()
        np.testing.assert_array_equal(after[30:], before[30:])
    more = sparse.csr_matrix(np.vstack([F.toarray(), F.toarray()[:2]]))
    sums = state(model, SUMS)
    model.fit_partial(sparse.coo_matrix(np.vstack([likes.toarray(), np.zeros((2, 40))])), more, F)
    assert (model.user_embedding_gradients[:40] >= sums[0]).all()
    np.testing.assert_array_equal(model.user_embedding_gradients[40:], 1)


@pytest.mark.parametrize("loss", ["warp", "bpr"])
def test_ranking_losses_put_likes_first(loss):
    likes, _, group = groups()
    options = {"no_components": 6, "loss": loss, "learning_rate": 0.2, "user_alpha": 1e-6, "random_state": 0}
    one, two = (lightfm.LightFM(**options) for _ in range(2))
    one.fit(likes, epochs=20)
    best = np.argsort(-scores_by_formula(one), axis=1)[:, :10]
    assert (group[best] == np.arange(40)[:, None] % 4).mean() > 0.8  # at random: 0.25
    assert not one.user_biases.any()
    two.fit(likes, epochs=20, num_threads=2)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(state(one), state(two), strict=True))
    weights = likes.copy()
    weights.data[:] = 2
    with pytest.raises(NotImplementedError, match=f"sample_weight is not offered with loss='{loss}'"):
        one.fit(likes, sample_weight=weights)


def test_warp_weighs_a_step_by_the_logarithm_of_the_rank_that_the_draws_suggest():
    model = _Ranking(loss="warp", max_sampled=4)
    np.testing.assert_allclose(model._rank_weights(9), np.log([8, 4, 2, 2]))
    assert model._rank_weights(10**6)[0] == 10  # at most
    assert _Ranking(loss="bpr", max_sampled=1)._rank_weights(9) is None


def test_the_progress_bar_is_shown_on_request(capsys):
    fitted()
    assert capsys.readouterr() == ("", "")
    fitted(epochs=2).fit(pairs(), epochs=2, verbose=True)
    assert "LightFM: 100%" in capsys.readouterr().err


def test_the_callers_matrix_is_left_as_it_is():
    matrix = sparse.coo_matrix(pairs().toarray().astype(np.int64))
    fitted(matrix)
    assert matrix.dtype == np.int64


# Predictions


def test_scores_are_those_of_the_formula():
    model = fitted()
    expected = scores_by_formula(model)
    np.testing.assert_allclose(model.predict([0, 3, 6], [8, 0, 4]), expected[[0, 3, 6], [8, 0, 4]], rtol=1e-5)
    for user in (5, np.int64(5)):
        np.testing.assert_allclose(model.predict(user, np.arange(9), num_threads=2), expected[5], rtol=1e-5)
    biases, factors = model.get_user_representations()
    assert biases is model.user_biases
    assert factors is model.user_embeddings
    assert model.get_item_representations()[1] is model.item_embeddings


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 1], [0, 1, 2], r"user_ids and item_ids must have the same length, got 2 and 3: repeat the users"),
        ([7], [0], r"user_ids must be from 0 to 6, the rows of the fit, got 7 to 7"),
        ([0], [-1], r"item_ids must be from 0 to 8, the rows of the fit, got -1 to -1"),
        ("foo", [0], r"user_ids must be a whole number or a list of them, got 'foo'"),
    ],
)
def test_ids_are_checked(users, items, message):
    with pytest.raises(ValueError, match=message):
        fitted().predict(users, items)


def test_no_ids_and_a_single_pair_have_scores_too():
    model = fitted()
    assert model.predict([], []).shape == (0,)
    np.testing.assert_array_equal(model.predict(1, 2), model.predict([1], [2]))


def ranks_by_formula(scores, train):
    """The number of other items, not in train, with at least the score."""
    ranks = np.zeros(scores.shape)
    for u, row in enumerate(scores):
        for i, score in enumerate(row):
            others = (np.arange(len(row)) != i) & (train[u] == 0)
            ranks[u, i] = (row[others] >= score).sum()
    return ranks


def test_ranks_count_equal_scores_and_leave_out_train():
    model, train = fitted(), pairs(seed=5).toarray()
    model.item_embeddings[4], model.item_biases[4] = model.item_embeddings[2], model.item_biases[2]
    everything = sparse.csr_matrix(np.ones((7, 9)))
    for left_out, passed in ((0 * train, None), (train, sparse.csr_matrix(train))):
        ranks = model.predict_rank(everything, passed, check_intersections=False)
        np.testing.assert_array_equal(ranks.toarray(), ranks_by_formula(scores_by_formula(model), left_out))
    with pytest.raises(ValueError, match=r"share \d+ pairs, which biases the evaluation: split the data anew"):
        model.predict_rank(everything, sparse.csr_matrix(train))
    with pytest.raises(ValueError, match=r"test_interactions must have the shape of the fit, \(7, 9\), got \(5, 5\)"):
        model.predict_rank(sparse.csr_matrix((5, 5)))


# Evaluation


def test_metrics_by_formula():
    model, rng = fitted(), np.random.default_rng(1)
    test = (rng.random((7, 9)) < 0.3) * 1.0
    train = (rng.random((7, 9)) < 0.3) * (test == 0)
    test[2] = 0
    scores = scores_by_formula(model)
    expected = {name: np.zeros(7) for name in ("precision", "recall", "auc", "reciprocal")}
    expected["auc"][2] = 0.5
    for u in np.flatnonzero(test.any(axis=1)):
        ranked = [i for i in np.argsort(-scores[u]) if not train[u, i]]
        hits = test[u, ranked]
        expected["precision"][u], expected["recall"][u] = hits[:3].sum() / 3, hits[:3].sum() / hits.sum()
        expected["reciprocal"][u] = 1 / (1 + np.argmax(hits))
        above = scores[u, test[u] > 0][:, None] > scores[u, (test[u] == 0) & (train[u] == 0)]
        expected["auc"][u] = above.mean()
    matrices = sparse.csr_matrix(test), sparse.csr_matrix(train)
    found = {
        "precision": evaluation.precision_at_k(model, *matrices, k=3, preserve_rows=True),
        "recall": evaluation.recall_at_k(model, *matrices, k=3, preserve_rows=True),
        "auc": evaluation.auc_score(model, *matrices, preserve_rows=True),
        "reciprocal": evaluation.reciprocal_rank(model, *matrices, preserve_rows=True),
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, err_msg=name)
    assert len(evaluation.auc_score(model, *matrices)) == 6
    assert evaluation.precision_at_k(model, matrices[0], k=9).sum() == pytest.approx(test.sum() / 9)


def test_random_splits_are_those_of_lightfm():
    matrix = pairs()
    train, test = random_train_test_split(matrix, 0.3, random_state=4)
    order = np.arange(matrix.nnz)
    np.random.RandomState(4).shuffle(order)
    cut = int(0.7 * matrix.nnz)
    np.testing.assert_array_equal(train.row, matrix.row[order[:cut]])
    np.testing.assert_array_equal(test.data, matrix.data[order[cut:]])
    assert train.shape == test.shape == matrix.shape
    with pytest.raises(ValueError, match=r"^test_percentage must be from 0 to 1, got 20: it is the fraction in test"):
        random_train_test_split(matrix, 20)


# Data


def test_a_data_set_numbers_ids_in_the_order_of_their_appearance():
    data = Dataset()
    data.fit(["ann", "bob", "ann"], ["go", "chess"])
    data.fit_partial(users=["cid"])
    assert data.mapping()[0] == {"ann": 0, "bob": 1, "cid": 2}
    interactions, weights = data.build_interactions([("cid", "go"), ("ann", "chess", 2.5)])
    np.testing.assert_array_equal(interactions.toarray(), [[0, 1], [0, 0], [1, 0]])
    np.testing.assert_array_equal(weights.toarray(), [[0, 2.5], [0, 0], [1, 0]])
    with pytest.raises(ValueError, match=r"the item 'whist' has no number: call fit or fit_partial with it first"):
        data.build_interactions([("ann", "whist")])


def test_features_are_built_and_normalized():
    data = Dataset(item_identity_features=False)
    data.fit(["ann"], ["go", "chess"], item_features=["old", "round"])
    built = data.build_item_features([("go", {"old": 3, "round": 1}), ("chess", ["old"])])
    np.testing.assert_array_equal(built.toarray(), [[0.75, 0.25], [1, 0]])
    assert data.item_features_shape() == (2, 2)
    assert data.model_dimensions() == (1, 2)
    with pytest.raises(ValueError, match="rows without features can't be normalized: pass features of every item"):
        data.build_item_features([("go", ["old"])])
    assert data.build_user_features([]).toarray() == [[1]]


# What is refused


def test_a_loss_that_is_not_offered_is_refused():
    message = "loss='warp-kos' is not offered here: use 'warp', or keep LightFM for it"
    with pytest.raises(NotImplementedError, match=message):
        lightfm.LightFM(loss="warp-kos")
    model = lightfm.LightFM()
    with pytest.raises(NotImplementedError, match=message):
        model.set_params(loss="warp-kos", no_components=5)
    assert model.get_params()["no_components"] == 10


def test_a_seed_may_be_set_later():
    model = lightfm.LightFM(no_components=4, random_state=0).set_params(random_state=3).fit(pairs(), epochs=3)
    np.testing.assert_array_equal(model.user_embeddings, fitted().user_embeddings)
    with pytest.raises(ValueError, match="LightFM has no parameter 'factors'; it has no_components, k, n"):
        model.set_params(factors=3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_schedule": "adadelta"}, NotImplementedError, "'adadelta' is not offered here: use 'adagrad'"),
        ({"no_components": 0}, ValueError, "no_components must be a whole number of at least 1, got 0"),
        ({"no_components": "4"}, ValueError, "no_components must be a whole number of at least 1, got '4'"),
        ({"max_sampled": 2.5}, ValueError, "max_sampled must be a whole number of at least 1, got 2.5"),
        ({"user_alpha": -1.0}, ValueError, "user_alpha must be a number of at least 0, got -1.0"),
        ({"item_alpha": None}, ValueError, "item_alpha must be a number of at least 0, got None"),
        ({"learning_rate": np.nan}, ValueError, "learning_rate must be a number of at least 0, got nan"),
        ({"random_state": "x"}, ValueError, "random_state must be a seed, a numpy.random.RandomState or None, got 'x'"),
        ({"loss": "mse"}, ValueError, "loss must be 'logistic' or 'warp' or 'bpr', got 'mse'"),
    ],
)
def test_parameters_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        lightfm.LightFM(**options)


def test_the_identity_is_no_features():
    identity = sparse.identity(9, format="csr")
    model = lightfm.LightFM(no_components=4, random_state=3).fit(pairs(), item_features=identity, epochs=3)
    np.testing.assert_array_equal(model.user_embeddings, fitted().user_embeddings)
    np.testing.assert_array_equal(model.predict(0, [1], item_features=identity), model.predict(0, [1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.fit(pairs() * np.nan), "interactions include NaN or infinite values"),
        (lambda model: model.fit(pairs(), np.ones((7, 3))), "user_features must be a scipy.sparse matrix, got ndarray"),
        (lambda model: model.fit(pairs(), None, sparse.csr_matrix((8, 3))), "item_features must have a row for each"),
        (lambda model: model.fit(pairs(), sparse.csr_matrix(np.full((7, 3), np.inf))), "user_features include NaN"),
        (lambda model: model.fit_partial(pairs(), sparse.csr_matrix((7, 3))), "must have the 7 columns of the first"),
        (lambda model: model.predict(0, [0], sparse.csr_matrix((9, 3))), "must have the 9 columns of the first fit"),
        (lambda model: model.fit_partial(pairs(8)), r"interactions must have the shape of the first fit, \(7, 9\)"),
        (lambda model: model.fit(pairs(), sample_weight=pairs(seed=1)), "the pairs of interactions, in the same order"),
        (lambda model: model.fit(pairs(), num_threads=0), "num_threads must be a whole number of at least 1, got 0"),
        (lambda model: model.fit(pairs(), num_threads="2"), "num_threads must be a whole number of"),
        (lambda model: model.fit_partial(pairs(), epochs=1.5), "epochs must be a whole number of at least 0, got 1.5"),
        (lambda model: model.fit_partial(pairs(), epochs=9, sample_weight=pairs() * 1e38), "weights of at least 0"),
        (lambda model: model.set_params(learning_rate=1e38).fit(pairs(), epochs=3), "the fit diverges: lower"),
        (lambda model: model.fit(pairs().astype(complex)), "interactions must hold real numbers, got dtype complex"),
        (lambda model: model.set_params(learning_rate=np.inf).fit(pairs()), "learning_rate must be"),
    ],
)
def test_a_refused_fit_leaves_the_factors(call, message):
    model = fitted()
    before, drawn = state(model), copy.deepcopy(model.random_state)
    with pytest.raises(ValueError, match=message):
        call(model)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.random_state.rand() == drawn.rand()


def test_an_unfitted_model_says_so():
    for call in (lambda model: model.predict(0, [0]), lambda model: model.get_user_representations()):
        with pytest.raises(ValueError, match="the model has no factors yet: call fit first"):
            call(lightfm.LightFM())


def test_data_sets_are_refused():
    with pytest.raises(NotImplementedError, match="alternant does not download MovieLens"):
        lightfm.datasets.fetch_movielens()


def test_an_installed_stand_in_is_imported_by_name():
    code = """
        from alternant.compat import install
        install("lightfm")
        import lightfm, pickle
        from lightfm import LightFM
        from lightfm.data import Dataset
        from lightfm.datasets import fetch_movielens
        from lightfm.evaluation import auc_score
        from lightfm.lightfm import LightFM as Same
        import alternant.compat.lightfm as ours
        assert lightfm is ours and LightFM is Same and lightfm.__version__ == "1.17"
        pickle.loads(pickle.dumps(LightFM()))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_models_are_pickled_with_what_a_partial_fit_continues_from():
    model = fitted()
    loaded = pickle.loads(pickle.dumps(model))
    for one in (model, loaded):
        one.fit_partial(pairs(), epochs=2)
    np.testing.assert_array_equal(model.item_embeddings, loaded.item_embeddings)
