"""The rest of `alternant.compat.implicit`: neighbours, logistic factorization, evaluation, utilities, `install`."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import alternant.compat.implicit as implicit
from alternant.compat import install
from alternant.compat.implicit import evaluation, utils
from alternant.compat.implicit import nearest_neighbours as knn
from alternant.compat.implicit.recommender_base import ModelFitError

PAGE = Path(__file__).parents[2] / "docs" / "moving" / "implicit.md"
rng = np.random.default_rng(0)
COUNTS = sparse.csr_matrix(rng.integers(1, 9, (40, 12)) * (rng.random((40, 12)) < 0.3))
LOWEST = np.finfo(np.float64).min
MODELS = (knn.CosineRecommender, knn.TFIDFRecommender, knn.BM25Recommender)


def weights_by_formula(cls, counts):
    """Dense weights, users x items: items are documents, users are terms."""
    documents, terms = counts.T.astype(float), (counts > 0).sum(axis=1)
    idf = np.log(documents.shape[0]) - np.log1p(terms)
    if cls is knn.BM25Recommender:
        length = 1 - 0.75 + 0.75 * documents.sum(axis=1) / documents.sum(axis=1).mean()
        return (documents * 2.2 / (1.2 * length[:, None] + documents) * idf).T
    weights = np.sqrt(documents) * idf if cls is knn.TFIDFRecommender else documents
    return (weights / np.linalg.norm(weights, axis=1)[:, None]).T


@pytest.mark.parametrize("cls", MODELS)
def test_neighbours_are_the_greatest_products(cls):
    model = cls(K=4)
    model.fit(COUNTS, show_progress=False)
    W = weights_by_formula(cls, COUNTS.toarray())
    products = W.T @ W
    assert (np.diff(model.similarity.indptr) == 4).all()
    for i in range(12):
        best = np.argsort(-products[i], kind="stable")[:4]
        ids, scores = model.similar_items(i)
        assert ids.tolist() == best.tolist()
        np.testing.assert_allclose(scores, products[i, best])


def test_equal_products_keep_the_higher_ids_in_any_blocks(monkeypatch):
    ones = sparse.csr_matrix(np.ones((3, 10)))
    for blocks in (1, 4, 10):
        monkeypatch.setattr(knn, "BLOCKS", blocks)
        neighbours = knn.all_pairs_knn(ones, 3, show_progress=False).tocsr()
        np.testing.assert_array_equal(neighbours.indices.reshape(10, 3), np.tile([7, 8, 9], (10, 1)))


def neighbours(K=4):
    model = knn.CosineRecommender(K=K)
    model.fit(COUNTS, show_progress=False)
    return model


def test_scores_are_sums_of_similarities():
    model = neighbours()
    full = (COUNTS @ model.similarity).toarray()
    ids, scores = model.recommend(0, COUNTS[0], N=20)
    assert not set(ids) & set(COUNTS[0].indices), "what is liked is left out, not scored 0"
    assert set(ids) == set(np.flatnonzero(full[0])) - set(COUNTS[0].indices)
    np.testing.assert_allclose(scores, full[0, ids])
    assert (np.diff(scores) <= 0).all()
    batch = model.recommend([0, 1], COUNTS[:2], N=20)
    assert batch[0].shape == (2, 20)
    np.testing.assert_array_equal(batch[0][0, : len(ids)], ids)
    assert (batch[0][0, len(ids) :] == -1).all()
    assert (batch[1][0, len(ids) :] == np.finfo(np.float32).min).all()


def test_filtered_lists_have_the_length_asked_for():
    model = neighbours(12)
    ids, _ = model.recommend(0, COUNTS[0], N=3, filter_already_liked_items=False, filter_items=[1, 2])
    assert len(ids) == 3
    assert not set(ids) & {1, 2}


def test_selected_items_are_all_returned():
    model = neighbours()
    ids, scores = model.recommend(0, COUNTS[0], N=2, items=[3, 1, 7])
    assert set(ids) == {1, 3, 7}
    assert (scores[np.isin(ids, COUNTS[0].indices)] == LOWEST).all()
    with pytest.raises(IndexError, match="items has the id 12, but the model has 12 items"):
        model.recommend(0, COUNTS[0], items=[12])
    assert set(model.similar_items(3, items=[3, 5])[0]) == {3, 5}


def test_neighbours_of_an_unknown_item_are_none():
    ids, scores = neighbours().similar_items(99)
    assert len(ids) == len(scores) == 0


def test_items_that_the_model_does_not_know_can_be_filtered():
    """Such as the -1 that pads other lists; the kernel would write out of bounds."""
    model = neighbours()
    for one, other in zip(
        model.recommend([0, 1], COUNTS[:2], N=3, filter_items=[-1, 5, 10**9]),
        model.recommend([0, 1], COUNTS[:2], N=3, filter_items=[5]),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_damaged_matrices_and_files_are_refused(tmp_path):
    """SciPy and the kernel would read and write out of bounds."""
    model, damaged = neighbours(), COUNTS.copy()
    damaged.indices[0] = 10**6
    with pytest.raises(ValueError, match=r"matrix\.indices must lie between 0 and 11, got 1000000"):
        knn.CosineRecommender().fit(damaged, show_progress=False)
    row = COUNTS[[0]]
    row.indices[0] = -5
    with pytest.raises(ValueError, match=r"user_items\.indices must lie between 0 and 11, got -5"):
        model.recommend(0, row)
    model.similarity.indices[0] = 10**6
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"similarity\.indices must lie between 0 and 11, got 1000000"):
        knn.CosineRecommender.load(tmp_path / "model")


@pytest.mark.parametrize("N", [-1, 2.5])
def test_impossible_lengths_of_lists_of_neighbours_are_refused(N):
    with pytest.raises(ValueError, match="the length of the lists must be a whole number of at least 0"):
        neighbours().recommend([0], COUNTS[[0]], N=N)


@pytest.mark.parametrize("cls", MODELS)
def test_neighbours_are_saved_and_loaded(cls, tmp_path):
    model = cls(K=3)
    if cls is knn.BM25Recommender:
        model.B = 0.5
    model.fit(COUNTS, show_progress=False)
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model")
    assert (loaded.similarity != model.similarity).nnz == 0
    assert loaded.K == 3
    assert getattr(loaded, "B", 0.5) == 0.5


def test_a_csr_matrix_does_not_warn_and_others_do():
    with pytest.warns(utils.ParameterWarning):
        knn.TFIDFRecommender().fit(COUNTS.tocoo(), show_progress=False)
    with pytest.raises(NotImplementedError, match="leave out the callback"):
        knn.TFIDFRecommender().fit(COUNTS, show_progress=False, callback=print)


# Logistic factorization


def test_logistic_factors_have_the_columns_of_implicit(tmp_path):
    calls = []
    model = implicit.lmf.LogisticMatrixFactorization(factors=4, iterations=3, random_state=0)
    model.fit(COUNTS, show_progress=False, callback=lambda *call: calls.append(call))
    assert [call[0] for call in calls] == [0, 1, 2]
    assert model.user_factors.shape == (40, 6)
    assert (model.user_factors[:, -2] == 1).all()
    assert (model.item_factors[:, -1] == 1).all()
    model.save(tmp_path / "model")
    loaded = implicit.cpu.lmf.LogisticMatrixFactorization.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.item_factors, model.item_factors)
    before = model.user_factors.copy()
    model.learning_rate = 1e-6
    model.fit(COUNTS, show_progress=False)
    np.testing.assert_allclose(model.user_factors, before, atol=1e-3, err_msg="it continues")
    with pytest.raises(NotImplementedError, match="cannot recalculate users"):
        model.recommend(0, COUNTS[0], recalculate_user=True)


def test_logistic_factors_find_planted_groups():
    groups = np.kron(np.eye(2), np.ones((20, 15)))
    held_out = rng.random(groups.shape) < 0.2
    model = implicit.lmf.LogisticMatrixFactorization(factors=4, random_state=0)
    model.fit(sparse.csr_matrix(groups * ~held_out), show_progress=False)
    test = sparse.csr_matrix(groups * held_out)
    assert evaluation.AUC_at_k(model, sparse.csr_matrix(groups * ~held_out), test, 10, show_progress=False) > 0.95


def test_what_logistic_factorization_refuses_is_told_in_its_own_words():
    model = implicit.lmf.LogisticMatrixFactorization(factors=4, iterations=1, random_state=0)
    not_finite = COUNTS.astype(np.float64)
    not_finite.data[0] = np.nan
    with pytest.raises(ModelFitError, match="NaN or infinite values"):
        model.fit(not_finite, show_progress=False)
    model.fit(COUNTS, show_progress=False)
    more = sparse.vstack([COUNTS, COUNTS[:1]]).tocsr()
    with pytest.raises(ValueError, match=r"^user_items has 41 users, but the model has factors for 40: set user_f"):
        model.fit(more, show_progress=False)
    model.learning_rate = -1.0
    with pytest.raises(ValueError, match=r"^learning_rate must be greater than 0, got -1\.0"):
        model.fit(COUNTS, show_progress=False)


@pytest.mark.parametrize(("density", "wanted", "drawn"), [(0.5, 30, 1), (0.02, 30, 10), (0.02, 3, 3), (0.5, 0, 0)])
def test_negatives_are_at_most_as_many_as_implicit_draws(density, wanted, drawn, monkeypatch):
    matrix = sparse.random_array((60, 40), density=density, format="csr", rng=rng)
    model = implicit.lmf.LogisticMatrixFactorization(factors=8, neg_prop=wanted)
    assert model._model(sparse.csr_matrix(matrix)).negatives == drawn


# Bayesian personalized ranking


def test_pairwise_factors_have_the_columns_of_implicit(tmp_path):
    calls = []
    model = implicit.bpr.BayesianPersonalizedRanking(factors=4, iterations=3, random_state=0)
    model.fit(COUNTS, show_progress=False, callback=lambda *call: calls.append(call))
    assert [call[0] for call in calls] == [0, 1, 2]
    assert all(0 <= correct <= COUNTS.nnz - skipped and skipped >= 0 for _, _, correct, skipped in calls)
    assert model.user_factors.shape == (40, 5)
    assert (model.user_factors[:, -1] == 1).all()
    model.save(tmp_path / "model")
    loaded = implicit.cpu.bpr.BayesianPersonalizedRanking.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.item_factors, model.item_factors)
    before = model.user_factors.copy()
    model.learning_rate = 1e-9
    model.fit(COUNTS, show_progress=False)
    np.testing.assert_allclose(model.user_factors, before, atol=1e-6, err_msg="it continues")
    with pytest.raises(NotImplementedError, match="cannot recalculate users"):
        model.recommend(0, COUNTS[0], recalculate_user=True)


def test_pairwise_factors_start_as_those_of_implicit_do():
    """Items before users, and zeros where there are no interactions; so small a step leaves them there."""
    liked = COUNTS.copy()
    liked.data[liked.indices == 3] = 0
    liked.eliminate_zeros()
    model = implicit.bpr.BayesianPersonalizedRanking(factors=4, iterations=1, learning_rate=1e-9, random_state=5)
    model.fit(liked, show_progress=False)
    numbers = np.random.default_rng(5)
    items, users = ((numbers.random((n, 5), dtype=np.float32) - 0.5) / 4 for n in (liked.shape[1], 40))
    users[np.diff(liked.indptr) == 0] = 0
    items[3], users[:, -1] = 0, 1
    np.testing.assert_allclose(model.item_factors, items, atol=1e-6)
    np.testing.assert_allclose(model.user_factors, users, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 3])
def test_pairwise_factors_set_by_hand_may_have_any_number_of_columns(columns):
    """The last one holds biases, and that of users is not learned; tests of RecTools set them so."""
    model = implicit.bpr.BayesianPersonalizedRanking(factors=columns, iterations=2, random_state=0)
    users, items = (np.full((n, columns), 0.3, np.float32) for n in (40, 12))
    model.user_factors, model.item_factors = users, items
    model.fit(COUNTS, show_progress=False)
    assert model.user_factors.shape == (40, columns)
    assert model.item_factors.shape == (12, columns)
    assert (model.user_factors[:, -1] == np.float32(0.3)).all()
    assert (model.item_factors[:, -1] != np.float32(0.3)).any()


# Evaluation


class Listed:
    """Recommends fixed lists."""

    def __init__(self, ids):
        self.ids = np.array(ids, np.int32)

    def recommend(self, users, user_items, N):
        assert user_items.shape[0] == len(users)
        scores = np.where(self.ids[users, :N] < 0, np.finfo(np.float32).min, np.float32(1))
        return self.ids[users, :N], scores


def test_metrics_by_hand():
    test = sparse.csr_matrix(np.array([[1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]]))
    model = Listed([[2, 1, 4], [0, 3, -1], [0, 1, 2]])
    metrics = evaluation.ranking_metrics_at_k(model, 0 * test, test, K=3, show_progress=False)
    discount = 1 / np.log2([2, 3])
    assert metrics["precision"] == pytest.approx(2 / (2 + 1))
    assert metrics["map"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert metrics["ndcg"] == pytest.approx((discount[0] / discount.sum() + discount[1]) / 2)
    # User 0: 2 before 1 and 4; of the other two, half of 1 + 2. User 1: 3 after 0, before all four others.
    assert metrics["auc"] == pytest.approx(((2 + 3 / 2 * 2) / 8 + 4 / 5) / 2)


def test_padding_is_no_hit():
    test = sparse.csr_matrix(np.array([[1, 0, 0], [0, 0, 1]]))
    assert evaluation.precision_at_k(Listed([[1, -1], [1, -1]]), 0 * test, test, K=2, show_progress=False) == 0


def test_metrics_check_their_arguments_and_leave_test_alone():
    model, train = Listed([[2, 1], [0, 3]]), sparse.csr_matrix((2, 4))
    twice = sparse.csr_matrix(([1.0, 1.0, 1.0], [2, 1, 1], [0, 1, 3]), shape=(2, 4))
    for array in (twice.data, twice.indices, twice.indptr):
        array.flags.writeable = False
    assert evaluation.precision_at_k(model, train, twice, K=2, show_progress=False) == 1 / 2
    with pytest.raises(ValueError, match=r"^K must be at least 1, got 0"):
        evaluation.precision_at_k(model, train, twice, K=0)
    with pytest.raises(ValueError, match="must have the same users, got 1 and 2 rows"):
        evaluation.precision_at_k(model, train[:1], twice)


def test_random_splits_are_those_of_implicit():
    train, test = evaluation.train_test_split(COUNTS, 0.7, random_state=5)
    coo = COUNTS.tocoo()
    chosen = np.random.default_rng(5).random(coo.nnz) < 0.7
    expected = sparse.csr_matrix((coo.data[chosen], (coo.row[chosen], coo.col[chosen])), shape=COUNTS.shape)
    assert (train != expected).nnz == 0
    assert (train + test != COUNTS).nnz == 0


def test_k_are_left_out_reproducibly_of_users_with_gaps_between_them():
    counts = COUNTS.tolil()
    counts[[0, 5, 6]] = 0
    counts = counts.tocsr()
    counts.eliminate_zeros()
    train, test = evaluation.leave_k_out_split(counts, K=2, random_state=3)
    assert (train + test != counts).nnz == 0
    sizes = np.diff(counts.indptr)
    np.testing.assert_array_equal(np.diff(test.indptr), np.where(sizes > 3, 2, 0))
    again = evaluation.leave_k_out_split(counts, K=2, random_state=3)[1]
    assert (again != test).nnz == 0
    _, fewer = evaluation.leave_k_out_split(counts, K=1, train_only_size=0.5, random_state=3)
    assert 0 < (np.diff(fewer.indptr) > 0).sum() <= (sizes > 2).sum() - 10


@pytest.mark.parametrize("options", [{"K": 0}, {"K": 1.5}, {"train_only_size": -1.0}, {"train_only_size": 1.0}])
def test_splits_check_their_parameters(options):
    with pytest.raises(ValueError, match="must be at least"):
        evaluation.leave_k_out_split(COUNTS, **options)


def test_splits_take_sparse_matrices():
    for split in (evaluation.leave_k_out_split, evaluation.train_test_split):
        with pytest.raises(TypeError, match=r"^ratings must be a scipy.sparse matrix, got ndarray: pass"):
            split(COUNTS.toarray())
    expected = evaluation.leave_k_out_split(COUNTS, 2, random_state=0)[1]
    assert (evaluation.leave_k_out_split(COUNTS, 2.0, random_state=0)[1] != expected).nnz == 0


# Utilities


def test_augmented_rows_have_one_norm():
    factors = rng.normal(size=(7, 3))
    norm, augmented = utils.augment_inner_product_matrix(factors)
    np.testing.assert_allclose(np.linalg.norm(augmented, axis=1), norm)
    np.testing.assert_array_equal(augmented[:, :3], factors)
    assert norm == pytest.approx(np.linalg.norm(factors, axis=1).max())


def test_random_states_of_any_kind():
    generator = np.random.default_rng(0)
    assert utils.check_random_state(generator) is generator
    one, other = (utils.check_random_state(np.random.RandomState(0)).random() for _ in range(2))
    assert one == other
    assert utils.check_random_state(4).random() == np.random.default_rng(4).random()


def test_nonzeros_of_a_row():
    assert [i for i, _ in utils.nonzeros(COUNTS, 2)] == COUNTS[2].indices.tolist()


# What is refused, and installing


def test_data_sets_are_refused():
    from alternant.compat.implicit.datasets.movielens import get_movielens

    with pytest.raises(NotImplementedError, match="alternant does not download MovieLens"):
        get_movielens("100k")


def test_approximate_models_answer_exactly():
    options = {"factors": 3, "random_state": 0, "iterations": 2}
    expected = implicit.als.AlternatingLeastSquares(**options)
    expected.fit(COUNTS, show_progress=False)
    for make in (
        implicit.approximate_als.FaissAlternatingLeastSquares,
        implicit.approximate_als.AnnoyAlternatingLeastSquares,
        implicit.approximate_als.NMSLibAlternatingLeastSquares,
    ):
        model = make(**options)
        model.fit(COUNTS, show_progress=False)
        np.testing.assert_array_equal(model.recommend([0, 1], COUNTS[:2])[0], expected.recommend([0, 1], COUNTS[:2])[0])
        np.testing.assert_array_equal(model.similar_items(0)[1], expected.similar_items(0)[1])


def run(code):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)


def test_an_installed_stand_in_is_imported_by_name():
    done = run("""
        from alternant.compat import install
        install("implicit")
        install("implicit")
        import implicit, implicit.gpu.als, implicit.cpu.matrix_factorization_base, pickle
        from implicit.als import AlternatingLeastSquares
        from implicit.cpu.topk import topk
        from implicit.datasets.movielens import get_movielens
        import alternant.compat.implicit as ours
        assert implicit is ours and implicit.cpu.topk.topk is topk and not implicit.gpu.HAS_CUDA
        assert implicit.__version__ == "0.7.3"
        assert isinstance(AlternatingLeastSquares(), implicit.cpu.als.AlternatingLeastSquares)
        assert not isinstance(AlternatingLeastSquares(), implicit.gpu.als.AlternatingLeastSquares)
        assert AlternatingLeastSquares.__module__ == "implicit.als"
        assert implicit.lmf.LogisticMatrixFactorization.__module__ == "implicit.lmf"
        assert implicit.cpu.als.AlternatingLeastSquares.__module__ == "alternant.compat.implicit.cpu.als"
        pickle.loads(pickle.dumps(AlternatingLeastSquares()))
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests (a wheel's test run)")
def test_the_code_of_the_page_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "visits.npz").exists()


def test_installing_after_the_real_library_is_refused():
    done = run("""
        import sys, types
        sys.modules["implicit"] = types.ModuleType("implicit")
        from alternant.compat import install
        install("implicit")
    """)
    assert "ImportError: implicit has been imported already: call alternant.compat.install('implicit') " in done.stderr


def test_other_libraries_have_no_stand_in():
    with pytest.raises(ValueError, match="name must be one of 'implicit', 'lightfm', got 'rectools'"):
        install("rectools")
