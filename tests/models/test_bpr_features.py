"""Features of users and items in BPR: against dense formulas, for new rows, over nights, in files."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BPR, Features, ImplicitALS, Interactions
from alternant.data.csr import CSR
from alternant.evaluation import evaluate, hold_out_items
from alternant.models.sgd.leaning import FIRST_EPOCH, Leaning, LearnedLeaning
from alternant.tuning import tune

M, N = 120, 60


def data(seed=0):
    """Choices that follow from features; the last users and items have none."""
    rng = np.random.default_rng(seed)
    F, H = rng.integers(0, 2, (M, 5)).astype(float), rng.integers(0, 2, (N, 6)).astype(float)
    utility = (F - 0.5) @ rng.standard_normal((5, 3)) @ ((H - 0.5) @ rng.standard_normal((6, 3))).T
    chosen = utility + rng.gumbel(size=utility.shape) > 2
    chosen[-3:], chosen[:, -2:] = False, False
    return sp.csr_array(chosen * 1.0), F, H


R, OF_USERS, OF_ITEMS = data()
COUNTS = [np.diff(rows.indptr) for rows in (R, R.T.tocsr())]


def model_of(**params):
    return BPR(**{"factors": 3, "epochs": 4, "random_state": 0, "dtype": "float64", **params})


def fitted(**params):
    return model_of(**params).fit(R, user_features=OF_USERS, item_features=OF_ITEMS)


def regression(F, counts, vectors, strength):
    """The ridge regression of the vectors of rows with interactions, without a penalty on the constant."""
    E = np.hstack([F, np.ones((len(F), 1))])[counts > 0]
    ridge = np.diag([strength * (E[:, :-1] ** 2).sum(axis=0).mean()] * F.shape[1] + [0.0])
    return np.linalg.solve(E.T @ E + ridge, E.T @ vectors[counts > 0])


def means(F, A):
    return F @ A[:-1] + A[-1]


def leaned(F, counts, vectors, strength, weight, rate):
    m = means(F, regression(F, counts, vectors, strength))
    share = np.where(counts > 0, rate * weight / (weight + np.maximum(counts, 1)), 1)
    return vectors + share[:, None] * (m - vectors)


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
@pytest.mark.parametrize("epochs", [1, 4, FIRST_EPOCH + 2])
def test_vectors_lean_after_each_epoch_as_the_formula_says(optimizer, epochs):
    options = {"optimizer": optimizer, "learning_rate_decay": 0.7, "feature_weight": 2.0, "epochs": epochs}
    model = fitted(feature_regularization=0.1, **options)
    training = model_of(**options)._training(
        CSR.of(R.indptr, R.indices, R.data, R.shape), None, np.random.default_rng(0)
    )  # fmt: skip
    for epoch in range(1, epochs + 1):
        done = training.step(epoch)
        users, items = done.user_factors.copy(), done.item_factors.copy()
        if epoch >= min(FIRST_EPOCH, epochs):
            users[:, :-1] = leaned(OF_USERS, COUNTS[0], users[:, :-1], 0.1, 2.0, 0.7 ** (epoch - 1))
            items = leaned(OF_ITEMS, COUNTS[1], items, 0.1, 2.0, 0.7 ** (epoch - 1))
            for F, counts, vectors in ((OF_USERS, COUNTS[0], users[:, :-1]), (OF_ITEMS, COUNTS[1], items)):
                vectors[counts == 0] = means(F, regression(F, counts, vectors, 0.1))[counts == 0]
        X, Y, bias = training.sides
        X[:], Y[:], bias[:] = users[training.rows, :-1], items[training.columns, :-1], items[training.columns, -1]
    np.testing.assert_allclose(model.user_factors, users, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.item_factors, items, rtol=1e-9, atol=1e-12)
    # What features predict at the end of the fit, for rows without interactions and for new ones.
    for F, factors, vectors, folded, counts in (
        (OF_USERS, model.user_factors, users[:, :-1], model.fold_in_users(user_features=OF_USERS), COUNTS[0]),
        (OF_ITEMS, model.item_factors, items, model.fold_in_items(item_features=OF_ITEMS), COUNTS[1]),
    ):
        columns = vectors.shape[1]
        np.testing.assert_allclose(folded[:, :columns], means(F, regression(F, counts, vectors, 0.1)), rtol=1e-7)
        np.testing.assert_array_equal(factors[counts == 0], folded[counts == 0])


def ndcg(model, test, **given):
    return evaluate(model, test, metrics="ndcg", k=5, **given).means["ndcg@5"]


def test_features_rank_new_items_and_new_users():
    train, test, items = hold_out_items(R[:-3, :-2], 0.3, random_state=0)
    model = BPR(factors=4, epochs=40, random_state=0)
    model.fit(train, user_features=OF_USERS[:-3], item_features=OF_ITEMS[:-2])
    by_features = ndcg(model, test, candidates=items)
    reversed_ = BPR(factors=4, epochs=40, random_state=0).fit(train, item_features=OF_ITEMS[-3::-1])
    assert by_features > 1.3 * ndcg(reversed_, test, candidates=items)
    known = BPR(factors=4, epochs=40, random_state=0).fit(R[:80], user_features=OF_USERS[:80])
    of_new = ndcg(known, R[80:-3], user_features=OF_USERS[80:-3])
    assert of_new > 1.3 * ndcg(known, R[80:-3], user_features=1 - OF_USERS[80:-3])


def test_no_step_is_longer_than_the_way():
    growing = fitted(feature_regularization=1e-9, feature_weight=1e9, learning_rate=0.01, learning_rate_decay=1.5)
    by_features = growing.fold_in_users(user_features=OF_USERS)
    np.testing.assert_allclose(growing.user_factors, by_features, rtol=1e-6, atol=1e-8)
    folded = growing.fold_in_users(R[:5], user_features=OF_USERS[:5])
    np.testing.assert_allclose(folded, by_features[:5], rtol=1e-6, atol=1e-8)


def test_a_warm_start_leans_from_its_first_epoch_and_may_change_features():
    model = fitted(feature_regularization=1e-9, epochs=20, feature_weight=1e9)
    model.set_params(warm_start=True, epochs=FIRST_EPOCH)
    model.fit(R, item_features=OF_ITEMS, callback=lambda state: state.iteration == 1)
    assert model.n_iter_ == 1
    np.testing.assert_allclose(model.item_factors, model.fold_in_items(item_features=OF_ITEMS), rtol=1e-5, atol=1e-6)
    model.fit(R, item_features=OF_ITEMS[:, :2])
    assert model.feature_regularization_ == (None, 1e-9)
    with pytest.raises(ValueError, match="must have the 2 columns of the fit, got 6"):
        model.fold_in_items(item_features=OF_ITEMS)
    assert model.fit(R).feature_regularization_ == (None, None)


def test_later_epochs_of_a_fold_in_lean_less():
    model = fitted(epochs=20).set_params(learning_rate_decay=1e-9)
    new = {"user_items": R[:5], "user_features": OF_USERS[5:10]}
    ten, one = (model.set_params(epochs=epochs).fold_in_users(**new) for epochs in (10, 1))
    np.testing.assert_allclose(ten, one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("options", [
    {"callback": lambda state: state.iteration == 2}, {"early_stopping": 0.9, "patience": 1},
])  # fmt: skip
def test_a_fit_that_ends_before_the_regressions_begin_has_them(options):
    params = {name: options.pop(name) for name in ("early_stopping", "patience") if name in options}
    model = model_of(epochs=50, feature_regularization=0.1, **params)
    model.fit(R, user_features=OF_USERS, item_features=OF_ITEMS, **options)
    assert model.n_iter_ < FIRST_EPOCH
    assert model.feature_regularization_ == (0.1, 0.1)
    B = regression(OF_ITEMS, COUNTS[1], model.item_factors, 0.1)
    np.testing.assert_allclose(model.item_factors[-2:], means(OF_ITEMS, B)[-2:], rtol=1e-8)
    np.testing.assert_allclose(model.fold_in_items(item_features=OF_ITEMS), means(OF_ITEMS, B), rtol=1e-8)


@pytest.mark.parametrize("rate", [0.15, 0.8])
def test_the_best_epoch_is_the_model_though_rows_have_no_interactions(rate):
    model = fitted(epochs=40, validation_fraction=0.2, learning_rate=rate, feature_regularization=0.1)
    losses = model.history_["validation_loss"]
    assert np.argmin(losses) < len(losses) - 1  # with the higher rate, it is one before the regressions begin
    folded = model.fold_in_items(item_features=OF_ITEMS[-2:])
    np.testing.assert_array_equal(model.item_factors[-2:], folded)


def test_features_that_predict_nothing_are_left_out():
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 2, (M, 4)).astype(float)
    model, plain = model_of(epochs=8).fit(R, user_features=noise), model_of(epochs=8).fit(R)
    assert model.feature_regularization_ == (np.inf, None)
    np.testing.assert_array_equal(model.user_factors, plain.user_factors)
    np.testing.assert_array_equal(model.item_factors, plain.item_factors)
    assert model.fit(R).feature_regularization_ == (None, None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_do_not_change_a_bit(dtype):
    one, *others = (fitted(dtype=dtype, num_threads=threads, epochs=7) for threads in (1, 2, 8))
    for other in others:
        assert (one.user_factors == other.user_factors).all()
        assert (one.item_factors == other.item_factors).all()
        assert (one._item_prior.weights == other._item_prior.weights).all()


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_backends_agree(backend):
    ours, theirs = fitted(epochs=7), fitted(epochs=7, backend=backend)
    np.testing.assert_allclose(ours.item_factors, theirs.item_factors, rtol=1e-7, atol=1e-9)
    new = {"user_items": R[:4], "user_features": OF_USERS[4:8]}
    np.testing.assert_allclose(ours.fold_in_users(**new), theirs.fold_in_users(**new), rtol=1e-7, atol=1e-9)


def test_a_new_user_is_between_its_features_and_its_interactions():
    model = fitted(epochs=20)
    by_features = model.fold_in_users(user_features=OF_USERS[:6])
    distances = []
    for weight in (0.0, 3.0, 1e9):
        both = model.set_params(feature_weight=weight).fold_in_users(R[6:12], user_features=OF_USERS[:6])
        distances.append(np.abs(both - by_features).max())
    assert distances[0] > 1.5 * distances[1] > 0
    model.set_params(feature_weight=0.0)  # for rows without interactions alone
    folded = [model.fold_in_users(R[:3], user_features=features) for features in (OF_USERS[:3], 1 - OF_USERS[:3])]
    np.testing.assert_array_equal(*folded)
    assert distances[1] > 3 * distances[2]
    known = model.set_params(feature_weight=3.0).partial_fit_users([0], R[[1]]).user_factors[0]
    np.testing.assert_allclose(known, model.fold_in_users(R[[1]], user_features=OF_USERS[[0]])[0], rtol=1e-10)


def test_a_night_brings_users_and_items_with_features():
    model = fitted(epochs=50)
    old = model.item_factors.copy()
    events = sp.csr_array((np.ones(3), ([0, M, M + 1], [N, 3, N])), shape=(M + 3, N + 2))
    new_users, new_items = OF_USERS[:3], OF_ITEMS[:2]
    model.partial_fit(events, user_features=new_users, item_features=new_items)
    assert (len(model.user_factors), len(model.item_factors)) == (M + 3, N + 2)
    assert np.abs(model.item_factors[:N] - old).max() < 0.5 * np.abs(old).max()
    # Those without interactions are what features predict, and the regression is that of the fit.
    for factors, expected in (
        (model.item_factors[N + 1], model.fold_in_items(item_features=OF_ITEMS[[1]])[0]),
        (model.user_factors[-1], model.fold_in_users(user_features=OF_USERS[[2]])[0]),
    ):
        np.testing.assert_allclose(factors, expected, rtol=1e-9)
    appended = model.partial_fit_items([N + 2], item_features=OF_ITEMS[[4]]).item_factors[-1]
    np.testing.assert_allclose(appended, model.fold_in_items(item_features=OF_ITEMS[[4]])[0], rtol=1e-10)
    model.partial_fit(([0], [N + 2]))
    assert model.item_factors.shape[0] == N + 3
    assert len(model._item_prior.known) == N + 3


def test_at_night_rows_lean_by_their_interactions_on_the_regression_of_the_fit(monkeypatch):
    model, seen = fitted(epochs=50, feature_weight=2.0), []
    move = Leaning.move

    def noted(self, factors, vectors, rate):
        seen.append((self._counts, self._weight, rate, vectors.copy(), self.fitted))
        move(self, factors, vectors, rate)
        seen[-1] += (vectors.copy(),)

    monkeypatch.setattr(Leaning, "move", noted)
    A = model._user_prior.weights
    model.partial_fit(([0, 0, 1], [int(i) for i in np.flatnonzero(R[[0]].toarray()[0] == 0)[:2]] + [3]))
    now = np.asarray((model.interactions_.to_scipy() > 0).sum(axis=1)).ravel()
    (counts, weight, rate, before, fitted_, after), (of_items, *_) = seen[:2]
    assert weight == 2.0
    assert rate == pytest.approx(0.97**50)
    np.testing.assert_array_equal(counts, now)  # though the steps of new events are taken several times
    assert of_items.sum() == now.sum()
    np.testing.assert_array_equal(fitted_.weights, A)
    share = np.where(counts > 0, rate * 2 / (2 + np.maximum(counts, 1)), 1)[:, None]
    np.testing.assert_allclose(after, before + share * (means(OF_USERS, A) - before), rtol=1e-9)


def test_new_items_are_not_below_their_features_for_lack_of_chances(tmp_path):
    model = fitted(epochs=30, feature_regularization=0.1)
    assert model.items_of_fit_ == N
    first = sp.csr_array((np.ones(6), ([0, 1, 2, 3, 4, 5], [N, N, N + 1, 7, 8, 9])), shape=(M, N + 3))
    nights = [((first,), {"item_features": OF_ITEMS[:3]}), ((([9, 8], [N, 7]),), {})]
    for events, given in nights:  # in the later one, too: these items are new until the next fit
        model.save(tmp_path / "model.safetensors")
        model, plain = (BPR.load(tmp_path / "model.safetensors") for _ in range(2))
        plain.items_of_fit_ = N + 3
        for one in (model, plain):
            one.partial_fit(*events, **given)
        counts = np.asarray((model.interactions_.to_scipy() > 0).sum(axis=0)).ravel()
        typical = (counts[:N] ** 2).sum() / counts[:N].sum()
        predicted, trained = model.fold_in_items(item_features=OF_ITEMS[:3]), plain.item_factors[N:]
        share = (1 - counts[N:] / typical) * (predicted[:, -1] > trained[:, -1])
        assert (share[:2] > 0.5).any()  # negatives have drawn them down
        np.testing.assert_allclose(model.item_factors[N:], trained + share[:, None] * (predicted - trained), rtol=1e-9)
        np.testing.assert_array_equal(model.item_factors[:N], plain.item_factors[:N])
        assert model.items_of_fit_ == N
    assert model.fit(R).items_of_fit_ == N


def test_rows_that_a_table_lacks_lean_on_the_mean_of_all(monkeypatch):
    users, items = R.nonzero()
    visits = Interactions.from_arrays([f"u{u:03}" for u in users], [f"i{i:02}" for i in items])
    some, seen = np.arange(0, M, 2), []
    people = Features.from_arrays([f"u{u:03}" for u in some], {"kind": [f"k{u % 5}" for u in some]})
    move = LearnedLeaning.move

    def noted(self, factors, vectors, rate):
        before = vectors.copy()
        move(self, factors, vectors, rate)
        seen.append((before, vectors.copy()))

    monkeypatch.setattr(LearnedLeaning, "move", noted)
    model = model_of(feature_weight=1e9, feature_regularization=0.1, epochs=1, learning_rate_decay=1.0)
    with pytest.warns(UserWarning, match="user_features have no row for"):
        model.fit(visits, user_features=people)
    lacking = ~model._user_prior.known
    assert lacking.sum() == np.count_nonzero(COUNTS[0][1::2])
    [(before, after)] = seen
    np.testing.assert_allclose(after[lacking], np.tile(before.mean(axis=0), (lacking.sum(), 1)), atol=1e-8)
    # The same holds for later ones, by the vectors of the model.
    of_all = model.user_factors[:, :-1].mean(axis=0)
    model.partial_fit((["zoe"], ["i01"]))
    np.testing.assert_allclose(model.user_factors[-1, :-1], of_all, atol=1e-6)


def test_known_items_stay_and_move_with_their_features():
    model = fitted(epochs=20, feature_regularization=0.1)
    before, n = model.item_factors.copy(), COUNTS[1][5]
    model.partial_fit_items([5], R.T.tocsr()[[5]], item_features=OF_ITEMS[[5]])
    np.testing.assert_allclose(model.item_factors, before, rtol=1e-12)
    moved = model.fold_in_items(item_features=OF_ITEMS[[7]]) - model.fold_in_items(item_features=OF_ITEMS[[5]])
    model.partial_fit_items([5], item_features=OF_ITEMS[[7]])
    np.testing.assert_allclose(model.item_factors[5], before[5] + 3 / (3 + n) * moved[0], rtol=1e-9)


def test_new_items_with_interactions_lean_less_the_more_they_have():
    model = fitted(epochs=20, feature_weight=3.0)
    users = R.T.tocsr()[[5]]
    near, mean = model.fold_in_items(users), model.fold_in_items(item_features=OF_ITEMS[[7]])
    both = model.fold_in_items(users, item_features=OF_ITEMS[[7]])
    plain = model_of(epochs=20).fit(R).fold_in_items(users)
    assert plain.shape == near.shape
    share = 3 / (3 + COUNTS[1][5])
    unknown = model._item_prior.mean
    unleaned = (near - share * unknown) / (1 - share)
    np.testing.assert_allclose(both, (1 - share) * unleaned + share * mean, rtol=1e-8)


def test_files_keep_what_was_learned_from_features(tmp_path):
    model = fitted(epochs=6)
    model.save(tmp_path / "model.safetensors")
    loaded = BPR.load(tmp_path / "model.safetensors")
    for rows in ({"user_features": OF_USERS[:3]}, {"user_items": R[:3], "user_features": OF_USERS[:3]}):
        np.testing.assert_array_equal(loaded.fold_in_users(**rows), model.fold_in_users(**rows))
    np.testing.assert_array_equal(
        loaded.fold_in_items(item_features=OF_ITEMS), model.fold_in_items(item_features=OF_ITEMS)
    )
    assert loaded.feature_regularization_ == model.feature_regularization_


def test_features_with_ids_reach_lists_of_new_users():
    likes = [(f"u{u}", f"i{i}") for u, i in zip(*R.nonzero(), strict=True)]
    visits = Interactions.from_arrays(*map(list, zip(*likes, strict=True)))
    people = Features.from_arrays([f"u{u}" for u in range(M)], {f"f{at}": OF_USERS[:, at] for at in range(5)})
    model = BPR(factors=3, epochs=6, random_state=0).fit(visits, user_features=people)
    new = Features.from_arrays(["zoe"], {f"f{at}": [1.0] for at in range(5)})
    ids, scores = model.recommend(None, 4, user_features=new)
    assert ids.shape == scores.shape == (1, 4)
    assert model.recommend_frame(None, 2, user_features=new)["user"].to_list() == ["zoe", "zoe"]
    assert model.partial_fit_users(["zoe"], user_features=new).recommend("zoe", 4)[0].tolist() == ids[0].tolist()


def test_a_search_varies_how_much_features_weigh():
    found = tune(BPR(factors=3, epochs=6), R, metric="ndcg@5", n_trials=3, hold_out="items", item_features=OF_ITEMS,
                 random_state=0, refit=False)  # fmt: skip
    assert {"feature_regularization", "feature_weight"} <= set(found.trials[-1].params)


def test_what_cannot_be_done_is_refused():
    model = fitted()
    with pytest.raises(ValueError, match="item_features"):
        model_of().fit(R, item_features=OF_ITEMS[:-1])
    with pytest.raises(ValueError, match="feature_weight must be"):
        BPR(feature_weight=-1)
    with pytest.raises(ValueError, match="user_features need a model that was fitted with user_features"):
        model_of().fit(R).fold_in_users(user_features=OF_USERS)
    model.interactions_ = None
    with pytest.raises(ValueError, match="new items begin near known ones with similar users, but this model does not"):
        model.fold_in_items(R.T.tocsr()[:1])


def test_it_ranks_choices_better_than_least_squares():
    """The planted choices of the benchmark, small: logarithms of odds are bilinear in the features."""
    rng = np.random.default_rng(0)
    F, H = (rng.random((n, 12)) < 0.25 for n in (800, 300))
    X, Y = ((side - 0.25) @ rng.standard_normal((12, 4)) for side in (F, H))
    utility = X @ Y.T
    utility *= 4 / utility.std()
    top = np.argsort(-(utility + rng.gumbel(size=utility.shape)), axis=1)[:, :15]
    chosen = np.zeros(utility.shape)
    np.put_along_axis(chosen, top, 1.0, axis=1)
    train, test, items = hold_out_items(sp.csr_array(chosen), 0.2, random_state=0)
    given = {"user_features": F * 1.0, "item_features": H * 1.0}
    ours, squares = (
        ndcg(model.fit(train, **given), test, candidates=items)
        for model in (BPR(factors=8, random_state=0), ImplicitALS(factors=8, random_state=0))
    )
    assert ours > 1.02 * squares
