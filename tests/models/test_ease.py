"""EASE against ridge regression in plain NumPy, one item at a time and in closed form."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import EASE, ImplicitALS, Popularity, datasets, kernels
from alternant._utils.memory import available_bytes
from alternant.evaluation import evaluate, random_split
from alternant.models import _ridge, ease
from alternant.models._sparse_rows import SparseRows

M, N, LAMBDA = 60, 23, 3.0
rng = np.random.default_rng(0)
R = np.where(rng.random((M, N)) < 0.3 * rng.random(N), rng.integers(1, 9, (M, N)), 0).astype(float)
R[rng.random((M, N)) < 0.02] = -1  # dislikes
R[7] = 0  # a user without interactions
R[:, 4] = 0  # an item without
ROWS = sp.csr_array(R)
EMPTY = 4


def values(weighting):
    if weighting == "binary":
        return np.sign(R)
    if weighting == "proportional":
        return R
    return np.sign(R) * np.log2(1 + np.abs(R) / np.median(np.abs(R[R != 0])))


def regress(X, item, intercept):
    """The normal equations of one item and all others, with an intercept that has no penalty."""
    others = np.delete(np.arange(N), item)
    A = np.column_stack([X[:, others], np.ones(M)] if intercept else [X[:, others]])
    penalty = np.diag([LAMBDA] * len(others) + [0.0] * intercept)
    solved = np.linalg.solve(A.T @ A + penalty, A.T @ X[:, item])
    column = np.zeros(N)
    column[others] = solved[: len(others)]
    return column, solved[-1] if intercept else 0.0


def expected(X, intercept):
    """B and b, or without an intercept B and what the mean user gets."""
    columns, constants = zip(*(regress(X, item, intercept) for item in range(N)), strict=True)
    B = np.array(columns).T
    return B, np.array(constants) if intercept else X.mean(axis=0) @ B


def slow_scores(X, intercept):
    B, last = expected(X, intercept)
    return X @ B + np.outer(np.ones(M) if intercept else ~X.any(axis=1), last)


@pytest.mark.parametrize("weighting", ["binary", "log", "proportional"])
@pytest.mark.parametrize("intercept", [True, False])
def test_weights_are_those_of_a_regression_of_each_item_on_the_others(weighting, intercept, dtype):
    model = EASE(regularization=LAMBDA, weighting=weighting, intercept=intercept, dtype=dtype).fit(ROWS)
    B, last = expected(values(weighting), intercept)
    tolerance = 1e-5 if dtype == np.float32 else 1e-11
    assert model.item_factors.dtype == model.user_factors.dtype == dtype
    np.testing.assert_allclose(model.item_factors[:, :-1].T, B, atol=tolerance)
    np.testing.assert_allclose(model.item_factors[:, -1], last, atol=tolerance)
    assert not model.item_factors[:, :-1].diagonal().any()


@pytest.mark.parametrize("intercept", [True, False])
def test_lists_and_predictions_are_sums_of_weights(intercept, backend):
    model = EASE(regularization=LAMBDA, intercept=intercept, dtype="float64", backend=backend).fit(ROWS)
    scores = slow_scores(values("binary"), intercept)
    np.testing.assert_allclose(model.predict(np.arange(M)[:, None], np.arange(N)), scores, atol=1e-12)
    ids, found = model.recommend(np.arange(M), N)
    for user in range(M):
        left = np.flatnonzero(R[user] == 0)
        assert set(ids[user, : len(left)]) == set(left)
        np.testing.assert_allclose(found[user, : len(left)], np.sort(scores[user, left])[::-1], atol=1e-12)
        assert (ids[user, len(left) :] == -1).all()


@pytest.mark.parametrize("intercept", [True, False])
def test_new_users_are_what_they_have_done(intercept):
    model = EASE(regularization=LAMBDA, intercept=intercept, dtype="float64").fit(ROWS)
    for one, other in zip(model.recommend(user_items=ROWS, k=5), model.recommend(np.arange(M), 5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.fold_in_users(ROWS).tobytes() == model.user_factors.tobytes()
    model.set_params(intercept=not intercept, weighting="log")  # of the next fit
    assert model.fold_in_users(ROWS).tobytes() == model.user_factors.tobytes()


def test_users_are_appended_and_replaced_while_weights_stay():
    model = EASE(regularization=LAMBDA).fit(ROWS)
    weights = model.item_factors
    model.partial_fit_users([3, M], ROWS[[11, 12]])
    assert model.item_factors is weights
    assert model.user_factors.shape == (M + 1, N + 1)
    np.testing.assert_array_equal(np.asarray(model.user_factors)[[3, M]], np.asarray(model.user_factors)[[11, 12]])
    np.testing.assert_array_equal(model.interactions_.to_scipy().toarray()[[3, M]], R[[11, 12]])


@pytest.mark.parametrize("intercept", [True, False])
def test_whoever_has_done_nothing_gets_the_list_of_the_mean_user(intercept):
    model = EASE(regularization=LAMBDA, intercept=intercept, dtype="float64").fit(ROWS)
    X = values("binary")
    B, b = expected(X, intercept)
    b = b if intercept else 0
    scores = model.predict(7, np.arange(N))
    np.testing.assert_allclose(scores, expected(X, intercept)[1], atol=1e-12)
    ids, mean = model.cold_start(5)
    np.testing.assert_allclose(mean, np.sort(X.mean(axis=0) @ B + b)[::-1][:5] if intercept else mean, atol=1e-12)
    if not intercept:
        np.testing.assert_array_equal(ids, model.recommend(7, 5, exclude_seen=False)[0])


def test_a_cold_start_by_neighbours_blends_their_rows():
    model = EASE(regularization=LAMBDA, dtype="float64").fit(ROWS)
    features = rng.random((M, 3))
    nearest = np.argsort(-(features @ features[5]) / np.linalg.norm(features, axis=1))[:4]
    cosines = features[nearest] @ features[5] / np.linalg.norm(features[nearest], axis=1) / np.linalg.norm(features[5])
    x = cosines @ values("binary")[nearest] / cosines.sum()
    B, b = expected(values("binary"), True)
    _, scores = model.cold_start(6, features=features, new_features=features[5], n_neighbours=4)
    np.testing.assert_allclose(scores, np.sort(x @ B + b)[::-1][:6], atol=1e-12)


@pytest.mark.parametrize("intercept", [True, False])
def test_an_explanation_is_exact(intercept):
    model = EASE(regularization=LAMBDA, intercept=intercept, dtype="float64").fit(ROWS)
    B, last = expected(values("binary"), intercept)
    for of in ({"user": 3}, {"user": None, "user_items": ROWS[[3]]}, {"user": 9, "user_items": ROWS[[3]]}):
        found = model.explain(item=2, **of)
        assert found.items.tolist() == sorted(np.flatnonzero(R[3]), key=lambda j: (-np.sign(R[3, j]) * B[j, 2], j))
        np.testing.assert_allclose(found.contributions, np.sign(R[3, found.items]) * B[found.items, 2], atol=1e-12)
        assert found.remainder == pytest.approx(last[2] if intercept else 0)
        assert found.contributions.sum() + found.remainder == pytest.approx(found.score)
        assert found.score == pytest.approx(model.predict(3, 2))
    with pytest.raises(ValueError, match="user_items must have 1 row"):
        model.explain(None, 2, user_items=ROWS[:2])


def test_similar_items_have_columns_of_weights_that_point_the_same_way():
    model = EASE(regularization=LAMBDA, dtype="float64").fit(ROWS)
    B, _ = expected(values("binary"), True)
    unit = B / np.maximum(np.linalg.norm(B, axis=0), 1e-300)
    right = unit.T @ unit
    np.fill_diagonal(right, -np.inf)
    ids, scores = model.similar_items(np.arange(N), N - 1, shrinkage=0)
    np.testing.assert_allclose(scores, -np.sort(-right, axis=1)[:, :-1], atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(right, ids, 1), scores, atol=1e-12)
    assert not scores[EMPTY].any()
    assert model.similar_items(2, 3, candidate_items=[5, 1])[0].tolist()[2] == -1


def test_similar_users_are_compared_by_what_they_have_done():
    model = EASE(regularization=LAMBDA, dtype="float64").fit(ROWS)
    X = values("binary")
    unit = X / np.maximum(np.linalg.norm(X, axis=1), 1e-300)[:, None]
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_allclose(model.similar_users(np.arange(M), 7)[1], -np.sort(-cosines, axis=1)[:, :7], atol=1e-12)


def test_metrics_are_those_of_the_scores():
    train, test = random_split(ROWS, 0.3, random_state=0)
    model = EASE(regularization=LAMBDA, dtype="float64").fit(train)
    scores = model.predict(np.arange(M)[:, None], np.arange(N))
    wanted = []
    for user in range(M):
        positive = test.toarray()[user] > 0
        others = (train.toarray()[user] == 0) & ~positive
        if positive.any() and others.any():
            pairs = scores[user, positive][:, None] - scores[user, others]
            wanted.append((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert evaluate(model, test, k=5, metrics=["auc"]).means["auc"] == pytest.approx(np.mean(wanted))


# The linear algebra, in several strips


@pytest.mark.nightly
@pytest.mark.parametrize("n", [1, 127, 128, 300, 2100])
@pytest.mark.parametrize("density", [0.02, 0.5])
def test_gram_and_inverse_are_those_of_numpy(n, density):
    X = sp.random_array((150, n), density=density, rng=1, format="csr")
    dense = X.toarray()
    out = np.full((n, n), np.nan)
    _ridge.gram(X, out, 2)
    np.testing.assert_allclose(np.tril(out), np.tril(dense.T @ dense), atol=1e-12)
    out[np.diag_indices(n)] += 1
    _ridge.negative_inverse(out, 2)
    np.testing.assert_allclose(np.tril(out), -np.tril(np.linalg.inv(dense.T @ dense + np.eye(n))), atol=1e-12)


def test_a_gram_matrix_has_the_same_bits_whether_rows_are_cut_or_not(monkeypatch):
    X = sp.random_array((200, 300), density=0.02, rng=3, format="csr")
    cut, whole = np.zeros((300, 300)), np.zeros((300, 300))
    _ridge.gram(X, cut, 1)
    monkeypatch.setattr(_ridge, "CUT_BELOW", 0)
    _ridge.gram(X, whole, 1)
    assert np.tril(cut).tobytes() == np.tril(whole).tobytes()


@pytest.mark.parametrize("density", [0.02, 0.5])
def test_weights_and_lists_have_the_same_bits_on_any_number_of_threads(density, dtype):
    rows = sp.random_array((400, 700), density=density, rng=2, format="csr")
    rows.data = np.ceil(rows.data * 9) / 3
    fits = [EASE(weighting="log", dtype=dtype, num_threads=threads).fit(rows) for threads in (1, 2, 8)]
    assert len({model.item_factors.tobytes() for model in fits}) == 1
    assert len({model.recommend(np.arange(400), 9)[1].tobytes() for model in fits}) == 1


# Parameters, memory, files


def test_auto_grows_with_the_interactions_and_with_their_size():
    ones = sp.csr_array(np.sign(np.abs(R)))
    n_u, n_i = (R != 0).sum() / (M - 1), (R != 0).sum() / (N - 1)
    assert EASE().fit(ones).regularization_ == pytest.approx(15 * (n_u * n_i) ** 0.3)
    model = EASE(weighting="proportional")
    assert model.fit(ones * 3).regularization_ == pytest.approx(9 * 15 * (n_u * n_i) ** 0.3)
    assert model.auto_parameters(model.interactions_)["regularization"] == model.regularization_
    assert EASE().fit(sp.csr_array((3, 4))).recommend(0, 2)[1].tolist() == [0, 0]


@pytest.mark.parametrize(("itemsize", "each"), [("float32", 12), ("float64", 8)])
def test_what_does_not_fit_is_refused_before_anything_is_computed(monkeypatch, itemsize, each):
    model = EASE(dtype=itemsize, num_threads=2).fit(ROWS)
    before = model.item_factors
    monkeypatch.setattr(ease, "available_bytes", lambda: 2 << 30)
    n = 20_000
    wide = sp.csr_array(([1.0], ([0], [n - 1])), shape=(1, n))
    needed = (each * n * (n + 1) + 2**28 + 2 * 2**25) / 2**30
    message = rf"^EASE needs {needed:.1f} GiB of memory for .* of 20,000 items, but only 2\.0 GiB.*use ImplicitALS"
    with pytest.raises(MemoryError, match=message):
        model.fit(wide)
    assert model.item_factors is before
    monkeypatch.setattr(ease, "available_bytes", lambda: None)  # nobody says
    model.fit(ROWS)


def test_the_memory_that_is_available_is_known_here():
    available = available_bytes()
    assert available is None or available > 0


@pytest.mark.parametrize(("params", "error", "message"), [
    ({"regularization": 0}, ValueError, "regularization must be greater than 0 and finite, got 0"),
    ({"regularization": (1, 2)}, TypeError, r"regularization must be a number, got \(1, 2\)"),
    ({"regularization": "much"}, TypeError, "regularization must be a number or 'auto', got 'much'"),
    ({"weighting": "hu"}, ValueError, "weighting must be one of 'auto', 'binary', 'log', 'proportional', got 'hu'"),
    ({"intercept": 1}, TypeError, "intercept must be True or False, got 1"),
])  # fmt: skip
def test_a_bad_parameter_is_refused_by_name(params, error, message):
    with pytest.raises(error, match=message):
        EASE(**params)


def test_a_lambda_that_rounding_swallows_is_refused():
    model = EASE().fit(ROWS)
    before = model.item_factors
    same = sp.csr_array(np.outer(np.arange(50), [1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"regularization must be greater than the rounding errors.*got 1e-200"):
        model.set_params(regularization=1e-200, weighting="proportional").fit(same)
    assert model.item_factors is before


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("regularization", [1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-12, 1e-11, 1e-9, 1e-6])
def test_weights_are_those_of_exact_arithmetic_or_refused(regularization, intercept):
    """Items that others determine, or that everybody has, leave pivots of the size of lambda."""
    X = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1]])
    m, n = X.shape
    model = EASE(regularization=regularization, intercept=intercept, dtype="float64")
    if regularization < 1e-13:
        with pytest.raises(ValueError, match="regularization must be greater than the rounding errors"):
            model.fit(sp.csr_array(X.astype(float)))
        return
    model.fit(sp.csr_array(X.astype(float)))
    lam, rows = Fraction(regularization), [[Fraction(int(x)) for x in row] for row in X]
    means = [sum(column) / m * intercept for column in zip(*rows, strict=True)]
    for j in range(n):  # (G_jj + lambda) B_j = g_j over the other items
        others = [i for i in range(n) if i != j]
        table = [
            [sum((row[a] - means[a]) * (row[b] - means[b]) for row in rows) + lam * (a == b) for b in [*others, j]]
            for a in others
        ]
        expected = [float(x) for x in solved(table)]
        np.testing.assert_allclose(model.item_factors[j, others], expected, rtol=0.02, atol=0.02)


def solved(table):
    """The solution of a system of fractions: each row of the table ends with its right-hand side."""
    for at in range(len(table)):
        table[at] = [x / table[at][at] for x in table[at]]
        for other in range(len(table)):
            if other != at:
                table[other] = [x - table[other][at] * y for x, y in zip(table[other], table[at], strict=True)]
    return [row[-1] for row in table]


@pytest.mark.parametrize("mmap", [True, False])
def test_a_file_keeps_users_sparse_and_weights_by_columns(tmp_path, mmap):
    model = EASE(regularization=LAMBDA).fit(ROWS)
    model.save(tmp_path / "m", interactions=False)
    loaded = EASE.load(tmp_path / "m", mmap=mmap)
    assert isinstance(loaded.user_factors, SparseRows)
    assert loaded.item_factors.T.flags.c_contiguous
    assert not loaded.item_factors.flags.writeable
    assert not loaded.user_factors.data.flags.writeable
    for one, other in ((loaded.user_factors, model.user_factors), (loaded.item_factors, model.item_factors)):
        assert one.tobytes() == other.tobytes()
    assert loaded.regularization_ == LAMBDA
    np.testing.assert_array_equal(
        loaded.recommend([1, 2], 4, user_items=ROWS[[1, 2]])[1], model.recommend([1, 2], 4)[1]
    )


def test_factors_set_by_hand_may_be_dense():
    model = EASE(regularization=LAMBDA).fit(ROWS)
    other = EASE(regularization=LAMBDA)
    other.user_factors = np.asarray(model.user_factors)
    other.item_factors = np.ascontiguousarray(model.item_factors)
    one, same = (m.recommend([1, 2], 4, user_items=ROWS[[1, 2]])[1] for m in (other, model))
    np.testing.assert_allclose(one, same, rtol=1e-5)


def test_on_real_data_lists_are_better_than_those_of_als_and_of_popularity():
    train, test = random_split(datasets.load_msweb().interactions, random_state=0)
    ndcg = {
        type(model): evaluate(model.fit(train), test, k=20, metrics=["ndcg"]).means["ndcg@20"]
        for model in (EASE(), ImplicitALS(random_state=0), Popularity())
    }
    assert ndcg[EASE] > ndcg[ImplicitALS] > ndcg[Popularity]


def test_its_lists_are_made_without_a_dense_product(monkeypatch):
    """A user's scores are a sum of a few rows: a kernel that multiplies factors never sees them."""
    seen = []
    top_k = kernels.active_backend().top_k

    def watched(queries, items, *rest):
        seen.append(items.shape[1])
        return top_k(queries, items, *rest)

    backend = kernels.active_backend()
    monkeypatch.setattr(backend, "top_k", watched)
    EASE(regularization=LAMBDA).fit(ROWS).recommend(np.arange(M), 5)
    assert set(seen) == {1}
