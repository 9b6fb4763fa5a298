"""Metrics as scorers of scikit-learn."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model, feedback, name_of, small

from alternant import ExplicitALS, ImplicitALS, Interactions, Popularity
from alternant._utils.threads import default_num_threads
from alternant.data.csr import CSR
from alternant.data.hold_out import content_keys, hold_out
from alternant.evaluation import evaluate, scorer

pytest.importorskip("sklearn", reason="the test extra has scikit-learn")

from joblib import Parallel, cpu_count, delayed
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline

M, N = 48, 30
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5
COUNTS, RATINGS = (feedback(UTILITY, KNOWN, kind) for kind in ("implicit", "ratings"))
LISTS = ["ndcg@10", "recall@3", "map@10", "auc", "novelty@3", "coverage@10", "neg_gini@3"]


@pytest.fixture(params=every_model(), ids=name_of)
def model(request):
    return clone(request.param)


def without_a_fifth(new, rates):
    """Users' interactions in two parts, known and held out."""
    new = CSR.of(new.indptr, new.indices, new.data, new.shape)
    chosen = np.ones(len(new.data), bool) if rates else new.data > 0
    held = hold_out(new, chosen, content_keys(new, chosen), 0.2)
    return new.filter(~held).to_scipy(), new.filter(held).to_scipy()


def test_a_score_is_what_evaluate_finds_of_users_folded_in_without_a_fifth_of_their_items(model):
    rows = feedback(UTILITY, KNOWN, model.traits.feedback)
    rates = model.traits.feedback == "ratings"
    model.fit(rows[:30])
    known, test = without_a_fifth(rows[30:], rates)
    found = evaluate(model, test, user_items=known, k=(3, 10)).means
    names = [*LISTS, "neg_rmse", "neg_mae"] if rates else LISTS
    expected = {name: -found[name[4:]] if name.startswith("neg_") else found[name] for name in names}
    assert scorer(names)(model, rows[30:]) == pytest.approx(expected)
    assert {name: scorer(name)(model, rows[30:]) for name in names} == pytest.approx(expected)
    assert model.score(rows[30:]) == expected["neg_rmse" if rates else "ndcg@10"]


def test_ratings_from_a_value_on_are_relevant_to_rankings():
    model = small(ExplicitALS, iterations=5).fit(RATINGS[:30])
    known, test = without_a_fifth(RATINGS[30:], True)
    found = [evaluate(model, test, user_items=known, k=5, relevant_from=at).means["map@5"] for at in (None, 4)]
    assert [scorer("map@5", relevant_from=at)(model, RATINGS[30:]) for at in (None, 4)] == found
    assert found[0] != found[1]


def test_cross_validation_measures_several_metrics_by_name():
    names = ["recall@3", "auc"]
    scores = cross_validate(small(ImplicitALS), COUNTS, cv=3, scoring=scorer(names), error_score="raise")
    for name in names:
        alone = cross_validate(small(ImplicitALS), COUNTS, cv=3, scoring=scorer(name), error_score="raise")
        np.testing.assert_array_equal(scores[f"test_{name}"], alone["test_score"])


@pytest.mark.nightly
def test_processes_share_the_cores_and_find_the_scores_of_one_process():
    grid = {"implicitals__factors": [1, 4], "tfidftransformer__use_idf": [True, False]}
    rows, pipe = abs(COUNTS), make_pipeline(TfidfTransformer(), small(ImplicitALS))
    search = GridSearchCV(pipe, grid, cv=2, scoring=scorer(["ndcg@10", "auc"]), refit="auc", error_score="raise")
    assert max(Parallel(n_jobs=2)(delayed(default_num_threads)() for _ in range(2))) <= max(1, cpu_count() // 2)
    one, two = (clone(search).set_params(n_jobs=jobs).fit(rows) for jobs in (1, 2))
    for key in ("mean_test_ndcg@10", "mean_test_auc"):
        np.testing.assert_array_equal(one.cv_results_[key], two.cv_results_[key])
    assert one.best_score_ == one.cv_results_["mean_test_auc"].max()
    best = one.best_estimator_
    expected = best[-1].score(best[:-1].transform(rows))
    assert scorer("ndcg@10")(best, rows) == scorer("ndcg@10")(one, rows) == best.score(rows) == expected


def test_a_pipeline_may_skip_steps():
    rows = abs(COUNTS)
    pipe, short = (
        make_pipeline(*steps, TfidfTransformer(), small(Popularity)).fit(rows) for steps in (("passthrough", None), ())
    )
    assert scorer("auc")(pipe, rows) == scorer("auc")(short, rows)


def test_interactions_are_scored_by_their_ids():
    users, items = np.nonzero(KNOWN)
    data = Interactions.from_arrays([f"u{u:02}" for u in users], [f"i{i:02}" for i in items])
    model = small(ImplicitALS).fit(data[:30])
    assert scorer("map@5")(model, data[30:]) == scorer("map@5")(model, data.matrix[30:])


def test_a_scorer_shows_what_it_measures_and_can_be_pickled():
    for one in (scorer("ndcg@10"), scorer(["auc", "map@5"], relevant_from=4.0)):
        assert repr(eval(repr(one))) == repr(one) == repr(pickle.loads(pickle.dumps(one)))


@pytest.mark.parametrize(("metric", "error", "message"), [
    ("ndcg", ValueError, "ndcg needs the length of the lists, got 'ndcg': write 'ndcg@10'"),
    ("ndcg@0", ValueError, "ndcg needs the length of the lists, got 'ndcg@0'"),
    ("auc@10", ValueError, "auc has no length of lists, got 'auc@10': write 'auc'"),
    ("accuracy", ValueError, "metrics must be among hit_rate, .*, got 'accuracy'"),
    ("rmse", ValueError, "scikit-learn maximizes, and a lower rmse is better, got 'rmse': write 'neg_rmse'"),
    ("gini@5", ValueError, "a lower gini is better, got 'gini@5': write 'neg_gini@5'"),
    ("neg_map@5", ValueError, "a higher map is better, got 'neg_map@5': write 'map@5'"),
    ([], ValueError, "metrics must name at least one metric, such as 'ndcg@10', got none"),
    (3, TypeError, "a metric must be a string such as 'ndcg@10', got 3"),
])  # fmt: skip
def test_an_unknown_metric_is_refused(metric, error, message):
    with pytest.raises(error, match=message):
        scorer(metric)


def test_what_can_not_be_scored_is_refused():
    model = small(ImplicitALS)
    with pytest.raises(ValueError, match="this ImplicitALS is not fitted yet"):
        scorer("auc")(model, COUNTS)
    with pytest.raises(ValueError, match="rmse measures predicted ratings, which ImplicitALS does not predict"):
        scorer("neg_rmse")(model.fit(COUNTS), COUNTS)
    with pytest.raises(ValueError, match="X has 29 features, but ImplicitALS is expecting 30 features as input"):
        scorer("auc")(model, COUNTS[:, 1:])
    with pytest.raises(ValueError, match=r"at least two positive interactions, .* none among 3 users: pass more users"):
        scorer("auc")(model, sp.csr_array(np.eye(3, N)))
    with pytest.raises(TypeError, match="y is not used and must be None, got csr_array"):
        scorer("auc")(model, COUNTS, COUNTS)
    with pytest.raises(TypeError, match="LogisticRegression is neither a model of alternant nor a pipeline that ends"):
        scorer("auc")(LogisticRegression(), COUNTS)
