"""ItemKNN against its formula on dense arrays."""

import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import ItemKNN, Popularity, datasets
from alternant.evaluation import evaluate, random_split
from alternant.models import _item_weights, item_knn
from alternant.models._sparse_rows import SparseColumns, SparseRows

M, N = 60, 23
rng = np.random.default_rng(0)
R = np.where(rng.random((M, N)) < 0.3 * rng.random(N), rng.integers(1, 9, (M, N)), 0).astype(float)
R[rng.random((M, N)) < 0.02] = -1  # dislikes
R[7] = 0  # a user without interactions
R[:, 4] = 0  # an item without
ROWS = sp.csr_array(R)
FILL, SHARES = 2.0**-20, (R > 0).mean(axis=0)


def entries(weighting):
    if weighting == "binary":
        return np.sign(R)
    return R if weighting == "proportional" else np.sign(R) * np.log2(1 + np.abs(R) / np.median(np.abs(R[R != 0])))


def similarities(similarity, weighting, shrinkage=2.0, p=0.3):
    x, n_u = entries(weighting), (R != 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if similarity == "unit-cosine":
            a = np.nan_to_num(x / np.linalg.norm(x, axis=1)[:, None])
        elif similarity == "cosine":
            a = x
        else:
            idf = np.where(n_u, np.log(N / n_u), 0)[:, None]
            sizes = np.abs(x).sum(axis=0)
            saturated = x * 2.2 / (1.2 * (0.25 + 0.75 * sizes / sizes.mean()) + np.abs(x))
            a = idf * (saturated if similarity == "bm25" else x)
        norms, n_i = np.linalg.norm(a, axis=0), np.maximum((R != 0).sum(axis=0), 1)
        s = a.T @ a / (np.outer(norms, norms * (n_i.max() / n_i) ** p) + shrinkage * np.mean(a[R != 0] ** 2))
    np.fill_diagonal(s, 0)
    return np.nan_to_num(s)


def truncated(s, k):
    out = np.zeros_like(s)
    for i, row in enumerate(s):
        best = [j for j in np.argsort(-row, kind="stable") if row[j] != 0][:k]
        out[i, best] = row[best]
    return out


def scores(similarity="unit-cosine", weighting="binary", k=6):
    x, s = entries(weighting), truncated(similarities(similarity, weighting), k)
    return x @ s + np.where((R != 0).any(axis=1), FILL, 1)[:, None] * SHARES


def model(backend="auto", **params):
    given = {"neighbours": 6, "shrinkage": 2.0, "popularity_exponent": 0.3, "dtype": "float64"} | params
    return ItemKNN(backend=backend, **given).fit(ROWS)


@pytest.mark.parametrize("similarity", ["unit-cosine", "cosine", "tfidf", "bm25"])
@pytest.mark.parametrize("weighting", ["binary", "log", "proportional"])
def test_neighbours_are_those_of_the_formula(similarity, weighting, backend):
    found = model(backend, similarity=similarity, weighting=weighting)
    assert isinstance(found.item_factors, SparseColumns)
    np.testing.assert_allclose(
        np.asarray(found.item_factors)[:, :-1].T, truncated(similarities(similarity, weighting), 6), atol=1e-12
    )
    x = np.asarray(found.user_factors)
    np.testing.assert_allclose(x[:, :-1], entries(weighting), rtol=1e-14)
    assert (x[:, -1] == np.where((R != 0).any(axis=1), FILL, 1)).all()


def test_auto_counts_for_bm25_only():
    assert model().weighting_ == "binary"
    assert model(similarity="bm25").weighting_ == "proportional"


def test_lists_and_predictions_are_sums_of_similarities(backend):
    found, expected = model(backend), scores()
    np.testing.assert_allclose(found.predict(np.arange(M)[:, None], np.arange(N)), expected, atol=1e-12)
    ids, best = found.recommend(np.arange(M), N)
    for user in range(M):
        left = np.flatnonzero(R[user] == 0)
        np.testing.assert_allclose(best[user, : len(left)], np.sort(expected[user, left])[::-1], atol=1e-12)
        np.testing.assert_allclose(best[user, : len(left)], expected[user, ids[user, : len(left)]], atol=1e-12)
        assert (ids[user, len(left) :] == -1).all()
    np.testing.assert_array_equal(found.recommend(user_items=ROWS, k=N)[0], ids)


def test_what_no_neighbour_scores_is_ranked_by_popularity():
    """Lists are full however few neighbours there are, and those of unknown users are of what is popular."""
    found = model(neighbours=1)
    ids, best = found.recommend(np.arange(M), 10, exclude_seen=False)
    tail = (best > 0) & (best < 1e-5)
    assert tail.any()
    np.testing.assert_allclose(best[tail], SHARES[ids[tail]] * FILL, rtol=1e-12)
    popular = Popularity().fit(ROWS).recommend(7, 5)[0]
    np.testing.assert_array_equal(SHARES[found.recommend(7, 5)[0]], SHARES[popular])
    np.testing.assert_array_equal(SHARES[found.cold_start(5)[0]], SHARES[popular])


def test_similar_items_of_another_shrinkage_are_refused():
    found = ItemKNN().fit(ROWS)
    refuses(ValueError, r"pass it to ItemKNN\(shrinkage=\.\.\.\)", lambda: found.similar_items(0, shrinkage=3))


def test_similar_items_are_the_neighbours_and_no_others(backend):
    found, s = model(backend), truncated(similarities("unit-cosine", "binary"), 6)
    ids, cosines = found.similar_items(np.arange(N), 8)
    assert ids.shape == (N, 8)
    for i in range(N):
        best = [j for j in np.argsort(-s[i], kind="stable") if s[i, j] != 0]
        assert ids[i].tolist() == best + [-1] * (8 - len(best))
        np.testing.assert_allclose(cosines[i, : len(best)], s[i, best], atol=1e-12)
    assert set(found.similar_items(0, 3, candidate_items=[1, 2])[0]) <= {1, 2, -1}
    assert (found.similar_items(4)[0] == -1).all(), "an item without interactions has no neighbours"


def test_an_explanation_sums_to_the_score():
    found, expected = model(), scores()
    user = int(np.argmax((R != 0).sum(axis=1)))
    told = found.explain(user, 3)
    assert told.score == pytest.approx(expected[user, 3])
    assert told.score == pytest.approx(told.contributions.sum() + told.remainder)
    assert set(told.items) == set(np.flatnonzero(R[user]))
    assert found.explain(None, 3, user_items=ROWS[[user]]).score == pytest.approx(told.score)


def test_it_survives_a_file(tmp_path):
    found = model()
    found.save(tmp_path / "knn.safetensors")
    for mmap in (False, True):
        loaded = ItemKNN.load(tmp_path / "knn.safetensors", mmap=mmap)
        assert isinstance(loaded.user_factors, SparseRows)
        assert isinstance(loaded.item_factors, SparseColumns)
        for one, other in zip(loaded.recommend(np.arange(M), 5), found.recommend(np.arange(M), 5), strict=True):
            np.testing.assert_array_equal(one, other)
        assert loaded.fold_in_users(ROWS).tobytes() == found.user_factors.tobytes()


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (2, 2)])
def test_tiny_matrices(shape):
    found = ItemKNN().fit(sp.csr_array(np.ones(shape)))
    assert found.recommend(0, 2, exclude_seen=False)[0].shape == (2,)
    assert np.isfinite(found.predict(0, 0))


@pytest.mark.many_steps
def test_defaults_beat_popularity_by_far():
    train, test = random_split(datasets.load_msweb().interactions, random_state=0)
    ours, theirs = (evaluate(cls().fit(train), test, k=10).means["ndcg@10"] for cls in (ItemKNN, Popularity))
    assert ours > 1.15 * theirs


@pytest.mark.parametrize("similarity", ["unit-cosine", "cosine", "tfidf"])
def test_similarities_do_not_depend_on_the_unit_of_the_values(similarity, backend):
    """Products of values of 1e20, or of 1e-30, are out of the range of float32."""
    one, *others = (
        ItemKNN(similarity=similarity, weighting="proportional", backend=backend).fit(ROWS * unit).item_factors
        for unit in (1.0, 2.0**70, 2.0**-100)
    )
    assert all(factors.tobytes() == one.tobytes() for factors in others)


def test_tiny_counts_have_neighbours_by_bm25():
    found = ItemKNN(similarity="bm25").fit(ROWS * 2.0**-100)
    assert (found.similar_items(0, 3)[1] > 0).all()


def test_the_logarithm_of_a_tiny_value_is_not_0():
    tiny = R.copy()
    tiny[7, 2] = 1e-12  # all that this user has
    found = ItemKNN(weighting="log").fit(tiny)
    assert found.user_factors[[7]].data[0] == pytest.approx(1e-12 / np.median(tiny[tiny > 0]) / np.log(2))
    assert found.recommend(7, 3)[0].min() >= 0


def test_a_user_of_all_items_counts_though_tfidf_gives_it_no_weight():
    x = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0.0]])
    found = ItemKNN(similarity="tfidf", shrinkage=2.0, popularity_exponent=0.5, dtype="float64").fit(x)
    a = x * np.log(3 / x.sum(axis=1))[:, None]
    norms, n_j = np.linalg.norm(a, axis=0), x.sum(axis=0)
    expected = a.T @ a / (np.outer(norms, norms * (3 / n_j) ** 0.5) + 2 * (a[x != 0] ** 2).mean())
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(np.asarray(found.item_factors)[:, :-1].T, expected, rtol=1e-14)


def test_a_fit_in_blocks_between_which_ctrl_c_is_heard_is_the_same(monkeypatch, backend):
    whole = model(backend)
    monkeypatch.setattr(item_knn, "PRODUCTS_PER_CALL", 100)
    assert model(backend).item_factors.tobytes() == whole.item_factors.tobytes()


@pytest.mark.parametrize("params", [{"popularity_exponent": 1e300}, {"shrinkage": 1e300}])
def test_huge_parameters_make_similarities_0(params, backend):
    scores = ItemKNN(backend=backend, **params).fit(ROWS).recommend(0, 3)[1]
    assert (scores >= 0).all()


@pytest.mark.parametrize("convert", [np.asarray, sp.csr_array, sp.coo_matrix])
def test_factors_set_by_hand_may_have_any_format(convert, tmp_path):
    found, changed = model(), model()
    changed.user_factors, changed.item_factors = convert(found.user_factors), convert(found.item_factors)
    for call in (
        lambda m: m.recommend(np.arange(M), 5)[0], lambda m: m.similar_items(np.arange(N), 4)[0],
        lambda m: m.similar_users(np.arange(M), 4)[0], lambda m: m.predict(np.arange(N), np.arange(N)),
        lambda m: m.explain(0, 3).contributions, lambda m: m.cold_start(5)[0],
    ):  # fmt: skip
        np.testing.assert_array_equal(call(changed), call(found))
    changed.save(tmp_path / "knn.safetensors")
    np.testing.assert_array_equal(ItemKNN.load(tmp_path / "knn.safetensors").recommend(0)[0], found.recommend(0)[0])


def test_dense_vectors_that_do_not_fit_in_memory_are_refused(monkeypatch):
    found = model()
    vectors = found.query_vectors([0, 1])
    assert vectors.tobytes() == np.asarray(found.user_factors)[:2].tobytes()
    monkeypatch.setattr(_item_weights, "available_bytes", lambda: 2 * 24 * 8 - 1)
    with pytest.raises(MemoryError, match=r"0\.0 GiB for 2 of 24 numbers each, but only .*: use recommend"):
        found.query_vectors([0, 1])
    assert found.query_vectors([0]).shape == (1, 24)


def test_predictions_of_many_items_for_a_user_take_no_search_for_each_pair_and_have_the_same_bits(monkeypatch):
    generator = np.random.default_rng(3)
    rows = sp.random_array((300, 3000), density=0.03, rng=generator, format="csr")
    found = ItemKNN(weighting="proportional", dtype="float64").fit(rows)
    pairs = [found.predict(user, item) for user in (0, 7) for item in range(0, 3000, 100)]
    searched = []
    monkeypatch.setattr(_item_weights, "_entries", lambda *given: searched.append(given))
    whole = found.predict(np.array([7, 0])[:, None], np.arange(3000))
    assert whole[::-1, ::100].ravel().tolist() == pairs
    assert not searched
