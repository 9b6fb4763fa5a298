"""scikit-learn's clone, searches, cross-validation and pipelines on every model."""

import copy
import io
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, Interactions, LogisticMF, Popularity
from alternant.data.csr import CSR
from alternant.data.hold_out import content_keys, hold_out
from alternant.evaluation import ranking_metrics
from alternant.models import NotFittedError

pytest.importorskip("sklearn", reason="the test extra has scikit-learn")

from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.validation import check_is_fitted

M, N = 48, 30
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5
USERS, ITEMS = np.nonzero(KNOWN)


def matrix(values):
    return sp.csr_array((np.asarray(values, float)[KNOWN], (USERS, ITEMS)), shape=(M, N))


RATINGS = matrix(np.clip(np.round(3 + UTILITY), 1, 5))
SWIPES = matrix(UTILITY > 0)  # dislikes are stored zeros
COUNTS = matrix(np.where(UTILITY > 0, 1 + np.floor(UTILITY), -1))  # a few dislikes
FEW = {"factors": 4, "random_state": 0}
CASES = {
    "ImplicitALS": (ImplicitALS, COUNTS, FEW | {"iterations": 2}, {"regularization": [0.01, 1.0]}),
    "ExplicitALS": (ExplicitALS, RATINGS, FEW | {"iterations": 2}, {"regularization": [0.01, 1.0]}),
    "BiasedMF": (BiasedMF, RATINGS, FEW | {"epochs": 3}, {"learning_rate": [0.01, 0.03]}),
    "LogisticMF": (LogisticMF, COUNTS, FEW | {"epochs": 3}, {"alpha": [0.1, 1.0]}),
    "CosineMF": (CosineMF, SWIPES, FEW | {"epochs": 3}, {"factors": [2, 5]}),
    "Popularity": (Popularity, COUNTS, {}, {"weighted": [True, False]}),
}
RATE = ("ExplicitALS", "BiasedMF")


class Case:
    def __init__(self, name):
        self.name = name
        self.cls, self.rows, self.params, self.grid = CASES[name]

    def make(self, **params):
        return self.cls(**self.params | params)


SLOW = {"LogisticMF": [pytest.mark.many_steps]}


@pytest.fixture(params=[pytest.param(name, marks=SLOW.get(name, ())) for name in CASES])
def case(request):
    return Case(request.param)


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes()


# --- clone and parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fitted", [False, True])
def test_sklearn_clones_a_model_without_what_it_learned(case, fitted):
    model = case.make(backend="numpy")
    if fitted:
        model.fit(case.rows)
    twin = clone(model)
    assert type(twin) is case.cls
    assert twin.get_params() == model.get_params()
    assert getattr(twin, "user_factors", None) is None
    with pytest.raises(NotFittedError):
        twin.score(case.rows)


@pytest.mark.parametrize("cls", [ExplicitALS, BiasedMF])
def test_a_model_whose_nan_is_not_numpys_can_be_cloned(cls):
    nan = float("nan")
    assert clone(cls(missing_value=nan)).missing_value is nan


@pytest.mark.parametrize("cls", [ExplicitALS, BiasedMF])
def test_parameters_compare_equal_after_loading_and_unpickling_though_nan_is_among_them(cls, tmp_path):
    model = Case(cls.__name__).make().fit(RATINGS)
    model.save(tmp_path / "model.safetensors")
    assert np.isnan(model.missing_value)
    for twin in (cls.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model)), copy.copy(model)):
        assert twin.get_params() == model.get_params()
        assert twin.get_params() == cls(**twin.get_params()).get_params()


@pytest.mark.parametrize("name", [name for name in CASES if name != "Popularity"])
def test_a_truth_value_is_no_seed(name):
    model = Case(name).make()
    for value in (True, np.False_):
        with pytest.raises(TypeError, match=r"random_state must be a whole number .* got "):
            type(model)(random_state=value)
        with pytest.raises(TypeError, match="random_state"):
            model.set_params(random_state=value)
    assert model.random_state == 0


def test_sklearn_sees_whether_a_model_is_fitted(case):
    model = case.make()
    with pytest.raises(Exception, match="not fitted"):
        check_is_fitted(model)
    check_is_fitted(model.fit(case.rows))


UNFITTED = """
import pickle, sys, alternant
from alternant.models import NotFittedError

def error():
    try:
        alternant.ImplicitALS().recommend(0)
    except NotFittedError as caught:
        return caught

assert type(error()) is NotFittedError
assert not any(name.partition(".")[0] == "sklearn" for name in sys.modules)
import sklearn.exceptions
for caught in (error(), pickle.loads(pickle.dumps(error()))):
    assert isinstance(caught, sklearn.exceptions.NotFittedError) and isinstance(caught, NotFittedError)
    assert type(caught).__name__ == "NotFittedError" and str(caught).startswith("this ImplicitALS is not fitted yet")
"""


def test_an_error_before_the_fit_is_sklearns_too_once_that_is_loaded_and_nothing_else_loads_it():
    subprocess.run([sys.executable, "-c", UNFITTED], check=True)


# --- fit(X, y) --------------------------------------------------------------------------------------------------------


def test_targets_that_sklearn_passes_change_nothing(case):
    expected = case.make().fit(case.rows)
    for y in (None, np.zeros(M), [1] * M):
        model = case.make().fit(case.rows, y)
        assert bits(model) == bits(expected)
        assert model.score(case.rows, y) == expected.score(case.rows)


def test_a_second_matrix_is_not_taken_for_targets(case):
    model = case.make()
    for call in (model.fit, model.score):
        with pytest.raises(TypeError, match=r"y is not used .* csr_array of shape \(48, 30\): leave it out"):
            call(case.rows, case.rows)
    assert getattr(model, "user_factors", None) is None


# --- score ------------------------------------------------------------------------------------------------------------


def test_a_score_is_that_of_held_out_items_after_folding_the_others_in(case):
    model = case.make().fit(case.rows[:30])
    rows = model._check_rows("rows", case.rows[30:], model.item_factors.dtype)
    chosen = np.ones(len(rows.data), bool) if case.name in RATE else rows.data > 0
    held = hold_out(rows, chosen, content_keys(rows, chosen), 0.2)
    owner, columns = rows.positions()
    for row in range(rows.shape[0]):  # a fifth of the chosen ones
        assert held[owner == row].sum() == max(1, chosen[owner == row].sum() // 5)
    assert not held[~chosen].any()
    known, test = rows.filter(~held).to_scipy(), rows.filter(held).to_scipy()
    if case.name in RATE:
        stand_in = copy.deepcopy(model)
        stand_in.user_factors = model.fold_in_users(known)
        error = stand_in.predict(owner[held], columns[held]) - rows.data[held]
        expected = -np.sqrt(np.mean(error**2))
    else:
        expected = ranking_metrics(model.recommend(None, 10, user_items=known)[0], test).ndcg
        assert 0 < expected < 1
    assert model.score(case.rows[30:]) == pytest.approx(expected, rel=1e-5)


def test_what_is_held_out_of_a_row_depends_neither_on_its_place_nor_on_the_other_rows():
    rows = CSR.of(COUNTS.indptr, COUNTS.indices, COUNTS.data, COUNTS.shape)
    order = np.random.default_rng(1).permutation(M)

    def held(rows):
        chosen = rows.data > 0
        return rows.filter(hold_out(rows, chosen, content_keys(rows, chosen), 0.2)).to_scipy().toarray()

    assert held(rows).any()
    np.testing.assert_array_equal(held(rows.take(order)), held(rows)[order])
    np.testing.assert_array_equal(held(rows.take(order[:5])), held(rows)[order[:5]])


def test_what_is_held_out_does_not_follow_the_order_of_the_items():
    full = sp.csr_array(np.ones((200, 40)))
    keep = np.random.default_rng(2).random((200, 40)) < 0.6
    rows = sp.csr_array(full.toarray() * keep)
    rows = CSR.of(rows.indptr, rows.indices, rows.data, rows.shape)
    chosen = np.ones(len(rows.data), bool)
    counts = np.bincount(rows.indices[hold_out(rows, chosen, content_keys(rows, chosen), 0.2)], minlength=40)
    share = counts / keep.sum(axis=0)
    assert share.min() > 0.05
    assert share.max() < 0.4  # 120 rows an item: 0.19, give or take 3.5 standard deviations of 0.036 at most


def test_a_greater_score_is_a_better_model():
    params = FEW | {"iterations": 10}
    counted = params | {"weighting": "log", "alpha": 3.0, "epsilon": 10.0, "regularization_exponent": 0.5}
    good, bad = (ImplicitALS(regularization=value, **counted).fit(COUNTS[:36]) for value in (0.1, 1e4))
    assert good.score(COUNTS[36:]) > bad.score(COUNTS[36:]) + 0.05
    good, bad = (ExplicitALS(regularization=value, **params).fit(RATINGS[:36]) for value in (0.1, 1e4))
    assert 0 > good.score(RATINGS[36:]) > bad.score(RATINGS[36:]) + 0.2


def test_users_with_one_item_can_not_be_scored(case):
    model = case.make().fit(case.rows)
    one_each = sp.csr_array((np.ones(5), (np.arange(5), np.arange(5))), shape=(5, N))
    with pytest.raises(ValueError, match=r"at least two .* is held out, got none among 5 users: pass more users"):
        model.score(one_each)
    with pytest.raises(ValueError, match=r"X has 10 features, but \w+ is expecting 30 features as input: pass one col"):
        model.score(case.rows[:, :10])


# --- searches, cross-validation, pipelines ----------------------------------------------------------------------------


def test_grid_search_fits_scores_and_refits(case):
    search = GridSearchCV(case.make(), case.grid, cv=3, error_score="raise").fit(case.rows)
    ((name, values),) = case.grid.items()
    assert search.best_params_[name] in values
    by_hand = [
        np.mean(cross_val_score(case.make(**{name: value}), case.rows, cv=3, error_score="raise")) for value in values
    ]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], by_hand)
    assert search.best_params_[name] == values[int(np.argmax(by_hand))]
    assert bits(search.best_estimator_) == bits(case.make(**search.best_params_).fit(case.rows))
    assert search.score(case.rows) == search.best_estimator_.score(case.rows)
    search._repr_html_()


def test_cross_validation_scores_users_the_model_has_not_seen(case):
    scores = cross_val_score(case.make(), case.rows, cv=3, error_score="raise")
    folds = np.split(np.arange(M), 3)
    by_hand = [case.make().fit(case.rows[np.setdiff1d(np.arange(M), fold)]).score(case.rows[fold]) for fold in folds]
    np.testing.assert_array_equal(scores, by_hand)


@pytest.mark.nightly
def test_processes_find_what_one_process_finds(case):
    one, two = (
        GridSearchCV(case.make(), case.grid, cv=2, n_jobs=jobs, error_score="raise").fit(case.rows) for jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert bits(one.best_estimator_) == bits(two.best_estimator_)
    models = cross_validate(case.make(), case.rows, cv=2, n_jobs=2, return_estimator=True)["estimator"]
    assert bits(models[0]) == bits(case.make().fit(case.rows[M // 2 :]))


def test_randomized_search_takes_the_same_models():
    space = {"regularization": [0.01, 0.1, 1.0], "biases": [True, False]}
    model = ExplicitALS(**FEW, iterations=2)
    search = RandomizedSearchCV(model, space, n_iter=3, cv=2, random_state=0, error_score="raise")
    search.fit(RATINGS.toarray() + np.where(KNOWN, 0, np.nan))  # a dense table with gaps
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("name", ["ImplicitALS", "LogisticMF", "Popularity"])
def test_a_pipeline_ends_in_a_model(name):
    case = Case(name)
    counts = abs(case.rows)
    pipeline = Pipeline([("scale", MaxAbsScaler()), ("tfidf", TfidfTransformer()), ("model", case.make())])
    assert pipeline.fit(counts) is pipeline
    weighted = TfidfTransformer().fit_transform(MaxAbsScaler().fit_transform(counts))
    assert bits(pipeline["model"]) == bits(case.make().fit(weighted))
    assert pipeline.score(counts) == pipeline["model"].score(weighted)
    grid = {f"model__{key}": values for key, values in case.grid.items()} | {"tfidf__use_idf": [True, False]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(counts)
    assert set(search.best_params_) == set(grid)


# --- copies -----------------------------------------------------------------------------------------------------------


def through_a_map(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib", mmap_mode="r")


def through_joblib(model, _):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "copy": lambda model, _: copy.copy(model),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "joblib": through_joblib,
    "joblib, mapped": through_a_map,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_fitted_model_answers_as_it_does_and_learns_alone(case, way, tmp_path):
    model = case.make().fit(case.rows)
    score, before = model.score(case.rows), bits(model)
    twin = COPIES[way](model, tmp_path)
    assert twin.get_params() == model.get_params()
    assert bits(twin) == before
    assert twin.score(case.rows) == score
    twin.fit(case.rows[:20])
    assert len(twin.user_factors) == 20
    assert bits(model) == before


@pytest.mark.parametrize("way", COPIES)
def test_events_teach_a_copy_of_a_cosine_model_and_not_the_model(way, tmp_path):
    case = Case("CosineMF")
    model = case.make().fit(case.rows)
    model.update(3, 4, 1)  # leaves a waiting event, a slot and the means behind
    before, known = bits(model), model.interactions_.to_scipy().toarray()
    twin, other = COPIES[way](model, tmp_path), copy.deepcopy(model)
    for learner in (twin, other):
        learner.update(5, 7, 0).update([60, 1], [2, 40], [1, 0])
    assert bits(model) == before
    np.testing.assert_array_equal(model.interactions_.to_scipy().toarray(), known)
    assert bits(twin) == bits(other) != before
    np.testing.assert_array_equal(twin.interactions_.to_scipy().toarray(), other.interactions_.to_scipy().toarray())
    model.update(2, 2, 1)
    assert bits(twin) == bits(other)


@pytest.mark.parametrize("text", [False, True], ids=["numbers", "strings"])
def test_interactions_are_cut_by_user_as_matrices_are(text):
    users, items = np.nonzero(np.random.default_rng(0).random((40, 20)) < 0.3)
    name = (lambda at: f"{at:02}") if text else int
    data = Interactions.from_arrays([name(u) for u in users], [name(i) for i in items])
    model = ImplicitALS(factors=3, iterations=3, random_state=0)
    scores = cross_val_score(model, data, cv=3)
    np.testing.assert_array_equal(scores, cross_val_score(model, data.matrix, cv=3))
    searches = [GridSearchCV(model, {"factors": [2, 4]}, cv=3).fit(one) for one in (data, data.matrix)]
    assert searches[0].best_score_ == searches[1].best_score_
    assert searches[0].best_estimator_.user_ids_.tolist() == data.user_ids.tolist()


def test_interactions_by_row():
    data = Interactions.from_arrays(["a", "a", "b", "c"], [1, 2, 3, 1])
    for rows in (slice(1, None), [1, 2], np.array([False, True, True])):
        assert data[rows].user_ids.tolist() == ["b", "c"]
        assert data[rows].item_ids.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(data[rows].matrix.toarray(), data.matrix.toarray()[1:])
    for rows in (0, "a", ["a"], [3], [[1]], (1, 2)):
        with pytest.raises(IndexError, match=r"rows must be a slice, .* below 3 .* use reindex\(users="):
            data[rows]
