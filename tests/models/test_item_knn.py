"""ItemKNN against its formula on dense arrays."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ItemKNN, Popularity, datasets
from alternant.evaluation import evaluate, random_split
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


def test_defaults_beat_popularity_by_far():
    train, test = random_split(datasets.load_msweb().interactions, random_state=0)
    ours, theirs = (evaluate(cls().fit(train), test, k=10).means["ndcg@10"] for cls in (ItemKNN, Popularity))
    assert ours > 1.15 * theirs
