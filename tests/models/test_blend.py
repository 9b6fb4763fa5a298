"""Blend: scores by dense formulas, weights by plain measurement of what is held out, and its models' state."""

import re
import sys
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import small

import alternant
from alternant import BPR, EASE, Blend, CosineMF, ImplicitALS, ItemKNN, Popularity
from alternant.data.validation import check_interactions
from alternant.evaluation import evaluate, random_split
from alternant.models import ModelFileError, _storage
from alternant.models._blend_weights import _candidates, hold_out, ndcg, simplex

M, N = 60, 40
rng = np.random.default_rng(0)
TASTE, KIND = rng.integers(0, 4, M), rng.integers(0, 4, N)
ROWS = sp.csr_array((rng.random((M, N)) < np.where(TASTE[:, None] == KIND, 0.5, 0.06)).astype(np.float32))
PARTS = [ImplicitALS(factors=4, iterations=3), ItemKNN(neighbours=8)]


def blend(models=PARTS, **params):
    return Blend(models, **{"random_state": 0, "num_threads": 2, **params})


@pytest.fixture(scope="module")
def fitted():
    return blend(weights=[0.75, 0.25]).fit(ROWS)


def dense_scores(model):
    """The scores of all pairs by a model that ranks by dot products."""
    return np.asarray(model.user_factors) @ np.asarray(model.item_factors).T


def test_a_score_is_the_weighted_sum_of_the_models_scores_in_units_of_their_deviation(fitted):
    apart = [type(one)(**one.get_params() | extra).fit(ROWS)
             for one, extra in zip(PARTS, ({"random_state": 0}, {}), strict=True)]  # fmt: skip
    scores = [dense_scores(one) for one in apart]
    unseen = ROWS.toarray() == 0
    scales = [np.mean([own[left].std() for own, left in zip(one, unseen, strict=True)]) for one in scores]
    np.testing.assert_allclose(fitted.scales_, scales, rtol=1e-5)
    expected = 0.75 * scores[0] / scales[0] + 0.25 * scores[1] / scales[1]
    np.testing.assert_allclose(fitted.predict(np.arange(M)[:, None], np.arange(N)), expected, rtol=1e-4, atol=1e-5)
    best = fitted.recommend(np.arange(M), 5, exclude_seen=False)[1]
    np.testing.assert_allclose(best, -np.sort(-expected, axis=1)[:, :5], rtol=1e-4)
    np.testing.assert_allclose(dense_scores(fitted), expected, rtol=1e-4, atol=1e-5)
    assert [one.get_params()["random_state"] for one in PARTS[:1]] == [None]  # the caller's are not touched
    assert not hasattr(PARTS[0], "user_factors")


def test_with_all_weight_on_one_model_lists_are_that_model_s():
    for weights, chosen in (([1, 0], 0), ([0, 3], 1)):
        model = blend(weights=weights).fit(ROWS)
        np.testing.assert_array_equal(model.recommend(np.arange(M), 6)[0],
                                      model.models_[chosen].recommend(np.arange(M), 6)[0])  # fmt: skip


def plain_ndcg(scores, seen, wanted, k=20):
    order = [i for i in np.argsort(-scores, kind="stable") if i not in seen][:k]
    gains = sum(1 / np.log2(place + 2) for place, i in enumerate(order) if i in wanted)
    return gains / sum(1 / np.log2(place + 2) for place in range(min(k, len(wanted))))


def test_weights_are_those_that_find_most_of_what_is_held_out(monkeypatch):
    monkeypatch.setattr("alternant.models.blend.REPEATS", 2)
    models = [*PARTS, EASE()]
    model = blend(models).fit(ROWS)
    total, generator = np.zeros(66), np.random.default_rng(0)
    rows = model.interactions_
    for _ in range(2):
        marked, users = hold_out(rows, generator)
        train = rows.filter(~marked)
        apart = [type(one)(**one.get_params() | ({"random_state": 0} if i == 0 else {})).fit(train.to_scipy())
                 for i, one in enumerate(models)]  # fmt: skip
        scores = [dense_scores(one) for one in apart]
        unseen = {u: ~np.isin(np.arange(N), train.take(np.array([u])).indices) for u in users}
        scores = [one / np.mean([one[u, left].std() for u, left in unseen.items()]) for one in scores]
        wanted = rows.filter(marked)
        for u in users:
            known, hidden = (set(part.take(np.array([u])).indices.tolist()) for part in (train, wanted))
            total += [plain_ndcg(sum(w * one[u] for w, one in zip(choice, scores, strict=True)), known, hidden)
                      for choice in simplex(3)]  # fmt: skip
    best = simplex(3)[total >= total.max() * (1 - 1e-6)]
    assert any(np.allclose(model.weights_, one) for one in best)
    assert total.max() > total[0]  # a blend beats its first model


def test_what_is_held_out_is_a_fifth_of_the_likes_of_some_users():
    rows = check_interactions("rows", sp.random(9000, 30, 0.2, "csr", random_state=0), np.dtype(np.float32), copy=True)
    rows.data[::7] = -1
    marked, users = hold_out(rows, np.random.default_rng(3))
    assert (rows.data[marked] > 0).all()
    owners = rows.positions()[0]
    np.testing.assert_array_equal(np.unique(owners[marked]), users)
    assert len(users) == 2000  # as many as can be ranked in seconds
    some = np.isin(owners, users) & (rows.data > 0)
    assert 0.2 < marked.sum() / some.sum() < 0.3  # each of them has one at least
    few = rows.take(np.arange(1500))
    marked, _ = hold_out(few, np.random.default_rng(3))
    assert 0.19 < marked.sum() / (few.data > 0).sum() < 0.21
    assert not hold_out(rows.filter(rows.data < 0), np.random.default_rng(3))[0].any()


def test_lists_are_made_of_the_best_unseen_items_of_each_model():
    scores = [rng.standard_normal(2000), rng.standard_normal(2000)]
    seen = np.argsort(-scores[0])[:50]
    for one in scores:
        one[seen] = -np.inf
    items = _candidates(scores)
    left = np.setdiff1d(np.arange(2000), seen)
    best = [left[np.argsort(-one[left])[:200]] for one in scores]
    np.testing.assert_array_equal(items, np.union1d(*best))
    np.testing.assert_array_equal(_candidates([one[:300] for one in scores]), left[left < 300])  # few: all of them
    few = np.where(np.arange(2000) < 1990, -np.inf, scores)
    np.testing.assert_array_equal(_candidates(list(few)), left[left >= 1990])


def test_the_grid_of_weights_covers_the_simplex():
    for count, size in ((2, 11), (3, 66), (4, 286)):
        grid = simplex(count)
        assert grid.shape == (size, count)
        assert (grid >= 0).all()
        np.testing.assert_allclose(grid.sum(axis=1), 1)
        assert len(np.unique(grid, axis=0)) == size


def test_ndcg_of_lists_is_that_of_the_metrics():
    wanted = np.array([3, 5, 8])
    lists = np.array([[5, 1, 3, 0], [0, 1, 2, 4], [3, 5, 8, -1]])
    discounts = 1 / np.log2(np.arange(2, 6))
    np.testing.assert_allclose(ndcg(lists, wanted), [(discounts[0] + discounts[2]) / discounts[:3].sum(), 0, 1])


def test_users_without_two_likes_leave_equal_weights():
    single = sp.csr_array(np.where(np.eye(12, dtype=bool), -1.0, 0.0))
    assert blend("auto", factors=2).fit(single).weights_ == (1 / 3,) * 3


def test_likes_that_are_all_held_out_leave_equal_weights():
    single = sp.csr_array(([1.0, -1.0], ([1, 2], [2, 3])), shape=(4, 5))
    for seed in range(8):  # of which some hold out the only like
        model = blend([BPR(factors=2, epochs=1), ItemKNN()], random_state=seed).fit(single)
        assert model.weights_ == (0.5, 0.5)


def test_weights_of_any_size_are_scaled():
    assert blend(weights=[1e308, 1e308]).fit(ROWS).weights_ == (0.5, 0.5)
    assert blend(weights=[sys.float_info.max, Fraction(0)]).fit(ROWS).weights_ == (1, 0)
    assert blend([*PARTS, EASE()], weights=[sys.float_info.max] * 3).fit(ROWS).weights_ == (1 / 3,) * 3
    assert blend(weights=[5e-324, 0]).fit(ROWS).weights_ == (1, 0)
    assert blend(weights=[0.9, 0.1]).fit(ROWS).weights_ == (0.9, 0.1)


def test_scales_are_of_the_best_unseen_items_and_of_any_size():
    """What all items but the best have in common does not matter, nor does a model whose scores are all alike."""
    many = sp.csr_array((rng.random((30, 900)) < 0.05).astype(np.float32))
    model = blend([ImplicitALS(factors=4), EASE()], weights=[1, 1]).fit(many)
    for one, scale in zip(model.models_, model.scales_, strict=True):
        best = [np.sort(own[left])[-200:].std() for own, left in
                zip(dense_scores(one), many.toarray() == 0, strict=True)]  # fmt: skip
        assert scale == pytest.approx(np.mean(best), rel=1e-5)
    tiny = blend([EASE(weighting="proportional"), Popularity()], weights=[1, 1])
    expected = tiny.fit(ROWS).recommend(np.arange(M), 5)[0]
    np.testing.assert_array_equal(tiny.fit(ROWS * np.float32(1e-14)).recommend(np.arange(M), 5)[0], expected)
    alike = sp.csr_array(sum(np.roll(np.eye(N, dtype=np.float32), shift, 1) for shift in (0, 1, 3, 7)) * 1e7)
    parts = [EASE(), Popularity(weighted=True)]
    lists = [blend(parts, weights=weights).fit(alike).recommend(np.arange(N), 5)[0] for weights in ([1, 1], [1, 0])]
    np.testing.assert_array_equal(*lists)


def test_users_without_interactions_do_not_change_the_scales():
    models = [ItemKNN(), ItemKNN(neighbours=3)]
    more = sp.vstack([ROWS, sp.csr_array((2000, N), dtype=np.float32)]).tocsr()
    with_empty = blend(models, weights=[1, 1]).fit(more)
    np.testing.assert_allclose(with_empty.scales_, blend(models, weights=[1, 1]).fit(ROWS).scales_, rtol=1e-6)


def test_scores_have_the_dtype_of_the_blend_if_models_of_another_count_alone():
    model = blend([ImplicitALS(factors=2), Popularity(), ItemKNN(dtype="float64")], weights=[1, 0, 0]).fit(ROWS)
    assert model.item_factors.dtype == np.float64
    assert model._scores(model.user_factors, model.item_factors)(0, 3).dtype == np.float64
    assert model.recommend(0, 3)[1].dtype == np.float64


def test_the_memory_of_a_fit_is_more_than_that_of_any_model():
    models = [ImplicitALS(), BPR(), ItemKNN()]
    least = max(one.fit_memory(1000, 500, 10**6).in_memory for one in models) + 24 * 10**6
    assert blend(models).fit_memory(1000, 500, 10**6).in_memory >= least


def test_the_work_of_a_fit_counts_the_fits_of_each_model():
    one = ItemKNN()
    for users, fits in ((10**6, 2), (2000, 2), (1500, 3), (10, 5)):
        work = one.iteration_work(users, 500, 10**5)
        assert blend([one, one]).iteration_work(users, 500, 10**5) == pytest.approx(2 * fits * work)
        assert blend([one, one], weights=[1, 1]).iteration_work(users, 500, 10**5) == pytest.approx(2 * work)


def test_the_models_are_chosen_by_the_number_of_items():
    assert [type(one) for one in blend("auto")._unfitted(5000)] == [ImplicitALS, EASE, Popularity]
    assert [type(one) for one in blend("auto", factors=7)._unfitted(5001)] == [ImplicitALS, ItemKNN, Popularity]
    model = blend("auto", factors=3, weights=[1, 1, 0]).fit(ROWS)
    assert model.models_[0].factors == 3
    assert [type(one).__name__ for one in model.models_] == ["ImplicitALS", "EASE", "Popularity"]
    assert {one.interactions_ is model.interactions_ for one in model.models_} == {True}  # no copies
    assert model.recommend(0, 3)[1].dtype == np.float32  # though that of Popularity is float64
    shown = str(model)
    assert "EASE" in shown
    own = blend([ImplicitALS(random_state=5, num_threads=1), EASE(backend="numpy")], random_state=7, backend="numba")
    first, second = own._unfitted(9)
    assert (first.random_state, first.num_threads, first.backend) == (5, 1, "numba")
    assert (second.num_threads, second.backend) == (2, "numpy")


def test_factors_can_be_read_row_by_row(fitted):
    for factors in (fitted.user_factors, fitted.item_factors):
        np.testing.assert_array_equal(list(factors), np.asarray(factors))
        np.testing.assert_array_equal(factors[-1], np.asarray(factors)[-1])
        with pytest.raises(IndexError):
            factors[len(factors)]


def test_new_users_are_folded_in_by_each_model(fitted):
    new = ROWS[:3]
    stacked = fitted.fold_in_users(new)
    for own, part in zip(stacked.parts, fitted.models_, strict=True):
        np.testing.assert_array_equal(np.asarray(own), np.asarray(part.fold_in_users(new)))
    scores = np.asarray(stacked) @ np.asarray(fitted.item_factors).T
    ids, best = fitted.recommend(None, 4, user_items=new)
    np.testing.assert_allclose(np.take_along_axis(scores, ids, axis=1), best, rtol=1e-4)
    np.testing.assert_allclose(fitted.predict(new), scores, rtol=1e-4, atol=1e-5)


def test_users_of_whom_nothing_is_known_get_the_sum_of_the_models_lists_for_them(fitted):
    coefficients = fitted.user_factors.coefficients
    mean = sum(c * np.asarray(part._mean_row("user")) @ np.asarray(part.item_factors).T
               for c, part in zip(coefficients, fitted.models_, strict=True))  # fmt: skip
    ids, scores = fitted.cold_start(6)
    np.testing.assert_allclose(scores, -np.sort(-mean)[:6], rtol=1e-4)
    features = np.eye(4)[TASTE]
    ids, _ = fitted.cold_start(5, features=features, new_features=np.eye(4)[2], n_neighbours=12)
    assert (KIND[ids] == 2).all()


def test_an_index_ranks_as_the_model_does(fitted):
    vectors, items = fitted.query_vectors(np.arange(5)), np.asarray(fitted.item_factors)
    ids, _ = fitted.recommend(np.arange(5), 4, exclude_seen=False)
    np.testing.assert_array_equal(np.argsort(-(vectors @ items.T), axis=1, kind="stable")[:, :4], ids)


def test_new_events_bring_each_model_up_to_date(fitted):
    events = ([0, 1, M], [3, 3, N])
    model = blend(weights=[0.75, 0.25]).fit(ROWS).partial_fit(events)
    for own, part in zip(model.models_, blend(weights=[0.75, 0.25]).fit(ROWS).models_, strict=True):
        part.partial_fit(events)
        np.testing.assert_array_equal(np.asarray(own.user_factors), np.asarray(part.user_factors))
        np.testing.assert_array_equal(np.asarray(own.item_factors), np.asarray(part.item_factors))
        assert own.interactions_ is model.interactions_
        assert own.partial_share_ == part.partial_share_ > 0
    assert (model.weights_, model.scales_) == (fitted.weights_, fitted.scales_)
    assert model.interactions_.shape == (M + 1, N + 1)
    assert len(fitted.user_factors) == M


def test_users_are_replaced_and_appended_in_each_model(fitted):
    model = blend(weights=[0.75, 0.25]).fit(ROWS)
    before = model.models_
    model.partial_fit_users([2, M], ROWS[[5, 6]])
    assert len(before[0].user_factors) == M  # readers of the state before keep it
    np.testing.assert_allclose(model.predict(2, np.arange(N)), fitted.predict(ROWS[[5]])[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(M, np.arange(N)), fitted.predict(ROWS[[6]])[0], rtol=1e-4, atol=1e-5)
    counts = blend([Popularity(), ItemKNN()], weights=[1, 1]).fit(ROWS).partial_fit_users([2], ROWS[[5]]).models_[0]
    np.testing.assert_array_equal(counts.item_factors[:, 0], (ROWS.toarray() > 0).sum(axis=0))  # items are fixed
    np.testing.assert_array_equal(counts.interactions_.to_scipy().toarray()[2], ROWS.toarray()[5])


def test_models_keep_their_dtypes_and_share_the_interactions(tmp_path):
    models = [ImplicitALS(factors=2, dtype="float64"), ItemKNN(), BPR(factors=2, epochs=1)]
    model = blend(models, weights=[1, 1, 1]).fit(ROWS)
    model.save(tmp_path / "model.safetensors")
    dtypes = [np.float64, np.float32, np.float32]
    for own in (model, Blend.load(tmp_path / "model.safetensors")):
        for change in (own, own.partial_fit(([0, M], [3, N])), own.partial_fit_users([1], sp.csr_array((1, N + 1)))):
            assert [part.dtype for part in change.user_factors.parts] == dtypes
            assert [part.interactions_.data.dtype for part in change.models_] == dtypes
            assert change.models_[0].interactions_ is change.interactions_
            assert all(part.interactions_.indices is change.interactions_.indices for part in change.models_)


def test_explanations_add_up(fitted):
    for given in ({"user": 7}, {"user": None, "user_items": ROWS[[7]]}, {"user": 3, "user_items": ROWS[[7]]}):
        told = fitted.explain(**given, item=11)
        assert told.contributions.sum() + told.remainder == pytest.approx(told.score, rel=1e-5, abs=1e-6)
        assert set(told.items) <= set(ROWS[[7]].indices.tolist())
        assert (np.diff(told.contributions) <= 0).all()
    assert fitted.explain(7, 11).score == pytest.approx(fitted.predict(7, 11), rel=1e-4)
    told = blend([Popularity(), ItemKNN()], weights=[1, 1]).fit(ROWS)
    assert told.explain(7, 11).score == pytest.approx(told.predict(7, 11), rel=1e-4)
    with pytest.raises(TypeError, match=r"BPR, a part of this blend, can't explain scores: leave it out"):
        blend([ItemKNN(), BPR(factors=2, epochs=1)], weights=[1, 1]).fit(ROWS).explain(0, 0)
    alone = blend([ItemKNN(), BPR(factors=2, epochs=1)], weights=[1, 0]).fit(ROWS)
    assert alone.explain(0, 9).score == pytest.approx(alone.predict(0, 9), rel=1e-5)


def test_threads_and_backend_of_the_blend_are_those_of_its_fitted_models(fitted):
    model = blend([ImplicitALS(factors=2, num_threads=1), ItemKNN()], weights=[1, 1]).fit(ROWS)
    before, expected = model.models_, model.recommend(np.arange(5), 4)[0]
    model.set_params(num_threads=3, backend="numpy", weights=[1, 2])
    assert [(one.num_threads, one.backend) for one in model.models_] == [(1, "numpy"), (3, "numpy")]
    assert [one.backend for one in before] == ["auto", "auto"]
    np.testing.assert_array_equal(model.recommend(np.arange(5), 4)[0], expected)


def test_similar_items_are_those_of_a_model_that_counts():
    models = [Popularity(), ImplicitALS(factors=4), ItemKNN()]
    for weights, chosen in (([1, 1, 1], 1), ([1, 0, 1], 2), ([1, 0, 0], 0)):
        model = blend(models, weights=weights).fit(ROWS)
        np.testing.assert_array_equal(model.similar_items(3)[0], model.models_[chosen].similar_items(3)[0])


def test_it_is_measured_as_other_models_are():
    train, test = random_split(ROWS, 0.2, random_state=0)
    model = blend(weights=[0.5, 0.5]).fit(train)
    means = evaluate(model, test, k=5, metrics=["ndcg", "auc"]).means
    ids, _ = model.recommend(np.arange(M), N)
    expected = [plain_ndcg(-np.argsort(np.r_[row[row >= 0], np.setdiff1d(np.arange(N), row)]).astype(float),
                           set(train[[u]].indices.tolist()), set(test[[u]].indices.tolist()), 5)
                for u, row in enumerate(ids) if test[[u]].nnz]  # fmt: skip
    assert means["ndcg@5"] == pytest.approx(np.mean(expected))
    assert means["auc"] > 0.6


def test_evaluation_makes_no_dense_vectors(fitted, monkeypatch):
    train, test = random_split(ROWS, 0.2, random_state=0)
    for model in (blend(weights=[1, 1]).fit(train), ItemKNN().fit(train)):
        expected = evaluate(model, test, k=5, metrics=["ndcg", "auc"]).means
        monkeypatch.setattr("alternant.models._item_weights.available_bytes", lambda: 10)
        assert evaluate(model, test, k=5, metrics=["ndcg", "auc"]).means == expected
        with pytest.raises(MemoryError, match="query_vectors take dense vectors"):
            model.query_vectors([0])
        monkeypatch.undo()


def test_lists_are_written_to_a_folder_of_this_blend_only(fitted, tmp_path):
    pytest.importorskip("pyarrow")
    written = [fitted.recommend_all(3, to=tmp_path / "lists", shard_size=25) for _ in range(2)]
    assert written == [3 * M, 3 * M]
    with pytest.raises(ValueError, match="lists"):
        blend(weights=[0.5, 0.5]).fit(ROWS).recommend_all(3, to=tmp_path / "lists", shard_size=25)


@pytest.mark.parametrize("models", [PARTS, "auto", [BPR(factors=2, epochs=1), Popularity(), ImplicitALS(factors=2)]])
def test_files_hold_all_models(models, tmp_path):
    model = blend(models, factors=3, weights=[1] * (3 if models == "auto" else len(models))).fit(ROWS)
    model.save(tmp_path / "model.safetensors")
    loaded = alternant.FactorModel.load(tmp_path / "model.safetensors")
    assert [repr(one) for one in loaded.models_] == [repr(one) for one in model.models_]
    assert repr(loaded) == repr(loaded.fit(ROWS))
    assert (loaded.weights_, loaded.scales_) == (model.weights_, model.scales_)
    new = ROWS[:2]
    np.testing.assert_array_equal(loaded.recommend(None, 5, user_items=new)[0],
                                  model.recommend(None, 5, user_items=new)[0])  # fmt: skip
    model.save(tmp_path / "small.safetensors", interactions=False)
    small_model = Blend.load(tmp_path / "small.safetensors", mmap=True)
    np.testing.assert_array_equal(small_model.similar_items(3)[0], model.similar_items(3)[0])
    with pytest.raises(ValueError, match="the interactions of the fit are needed"):
        small_model.recommend(0)


def test_a_loaded_blend_has_the_models_it_was_given_and_fits_them_with_its_own_seed(tmp_path):
    given = [ImplicitALS(factors=2, regularization=(1.0, 2.0)), ItemKNN(num_threads=1), Popularity()]
    model = blend(given, weights=[1, 1, 1]).fit(ROWS)
    model.save(tmp_path / "m")
    loaded = Blend.load(tmp_path / "m")
    assert [repr(one) for one in loaded.models] == [repr(one) for one in given]  # not the seed and threads of the blend
    loaded.set_params(random_state=1).fit(ROWS)
    assert [one.get_params().get("random_state") for one in loaded.models_] == [1, None, None]


@pytest.mark.parametrize("change", [
    {"state": '{"weights_": [1.0], "scales_": [1.0, 1.0], "backend_": "numpy"}'},
    {"state": '{"weights_": [-1.0, 2.0], "scales_": [1.0, 1.0], "backend_": "numpy"}'},
    {"state": '{"weights_": [0.5, 0.5], "scales_": [0.0, 1.0], "backend_": "numpy"}'},
    {"parts": "[]"}, {"parts": "{}"}, {"parts": '[{"model": "os.system"}]'}, {"parts": None}, {"model": "ImplicitALS"},
])  # fmt: skip
def test_damaged_files_are_refused(fitted, change, tmp_path):
    tensors, metadata = _storage._pack(fitted, interactions=True)
    metadata = {name: value for name, value in (metadata | change).items() if value is not None}
    _storage.tensor_file.write(tmp_path / "m", tensors, metadata)
    with pytest.raises(ModelFileError, match="is a damaged model file"):
        alternant.FactorModel.load(tmp_path / "m")


def test_a_file_with_a_class_that_is_not_imported_is_refused_by_its_name(tmp_path):
    class Mine(ItemKNN):
        pass

    blend([Mine(), ItemKNN()], weights=[1, 1]).fit(ROWS).save(tmp_path / "m")
    assert type(Blend.load(tmp_path / "m").models_[0]) is Mine
    Mine.__name__ = "Other"
    with pytest.raises(ModelFileError, match="a part of class Mine, which is not imported"):
        Blend.load(tmp_path / "m")


@pytest.mark.parametrize(("params", "error", "message"), [
    ({"models": ItemKNN()}, TypeError, "in Python, a list of models, such as [ImplicitALS(), ItemKNN()], got ItemKNN"),
    ({"models": "all"}, TypeError, "models must be 'auto' or, in Python, a list of models"),
    ({"models": [ItemKNN, EASE]}, TypeError, "models must be 'auto' or, in Python, a list of models"),
    ({"models": [ItemKNN()]}, ValueError, "models must be 2 to 4 models, got 1"),
    ({"models": [ItemKNN()] * 5}, ValueError, "models must be 2 to 4 models, got 5"),
    ({"models": [ItemKNN(), CosineMF()]}, ValueError, "other than Blend, got CosineMF, of likes: leave it out"),
    ({"models": [ItemKNN(), Blend()]}, ValueError, "other than Blend, got Blend: pass the models that it contains"),
    ({"weights": "equal"}, TypeError, "weights must be 'auto' or a list of numbers, got 'equal'"),
    ({"weights": 0.5}, TypeError, "weights must be 'auto' or a list of numbers, got 0.5"),
    ({"weights": [1, 2]}, ValueError, "weights must have one number for each of 3 models, got 2"),
    ({"weights": [1, -1]}, ValueError, "weights must be at least 0 and finite, got -1"),
    ({"weights": [0, 0]}, ValueError, "weights must not all be 0, got [0, 0]"),
    ({"factors": 0}, ValueError, "factors must be at least 1, got 0"),
])  # fmt: skip
def test_invalid_parameters_are_refused(params, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Blend(**params)


def test_a_model_that_can_t_be_fitted_leaves_the_blend_as_it_was():
    model = blend(weights=[1, 1]).fit(ROWS)
    before = model.recommend(0, 5)[0].tolist()
    model.set_params(models=[ImplicitALS(factors=2, regularization=0, unobserved_weight=0), ItemKNN()])
    with pytest.raises(alternant.SingularRowError, match="is singular"):
        model.fit(ROWS)
    assert model.recommend(0, 5)[0].tolist() == before


def test_every_model_of_implicit_feedback_may_be_a_part():
    for cls in alternant.models.MODELS.values():
        if cls.traits.feedback == "implicit" and cls is not Blend:
            model = blend([small(cls), Popularity()], weights=[2, 1]).fit(ROWS)
            ids, scores = model.recommend(np.arange(4), 3)
            np.testing.assert_allclose(model.predict(np.arange(4)[:, None], ids), scores, rtol=1e-4)
