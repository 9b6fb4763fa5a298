"""`evaluate` against scikit-learn's metrics and plain Python, and its errors."""

import json
import math

import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import (
    BPR,
    BiasedMF,
    CosineMF,
    Events,
    ExplicitALS,
    Features,
    ImplicitALS,
    Interactions,
    LogisticMF,
    Popularity,
    datasets,
)
from alternant.evaluation import (
    evaluate,
    hold_out_users,
    leave_k_out,
    leave_one_out,
    random_split,
    sample_negatives,
    split_kind,
)

metrics = pytest.importorskip("sklearn.metrics", reason="the test extra has scikit-learn")

M, N = 60, 40
EVENTS = Events.from_arrays([0, 1], [0, 1], ["view", "buy"])


def choices(seed=0, density=0.3):
    rng = np.random.default_rng(seed)
    return sp.random_array((M, N), density=density, rng=rng, format="csr", data_sampler=lambda size: np.ones(size))


def fitted(seed=0, **options):
    train, test = random_split(choices(seed), 0.3, random_state=seed)
    return ImplicitALS(factors=6, random_state=seed, dtype="float64", **options).fit(train), train, test


def users_of(model, train, test):
    """Yield user, scores of unseen items, labels and number of test items, for every user with test items."""
    scores = model.user_factors @ model.item_factors.T
    for u in range(M):
        wanted = test[[u]].indices
        if len(wanted):
            left = np.setdiff1d(np.arange(N), train[[u]].indices)
            yield u, scores[u, left], np.isin(left, wanted).astype(int), len(wanted)


@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_list_metrics_match_scikit_learn_and_plain_python(k):
    model, train, test = fitted()
    result = evaluate(model, test, k=k)
    expected = {name: [] for name in ("ndcg", "precision", "recall", "truncated_recall", "hit_rate", "mrr", "map")}
    for _, scores, labels, n in users_of(model, train, test):
        order = np.argsort(-scores)
        top = order[:k]
        taken = np.zeros(len(labels), int)
        taken[top] = 1
        expected["ndcg"].append(metrics.ndcg_score([labels], [scores], k=min(k, len(labels))))
        share = metrics.precision_score(labels, taken, zero_division=0)
        expected["precision"].append(share * len(top) / k)
        expected["recall"].append(metrics.recall_score(labels, taken))
        places = [place for place, item in enumerate(top, 1) if labels[item]]
        expected["truncated_recall"].append(len(places) / min(k, n))
        expected["hit_rate"].append(bool(places))
        expected["mrr"].append(1 / places[0] if places else 0)
        expected["map"].append(sum(number / place for number, place in enumerate(places, 1)) / n)
    for name, values in expected.items():
        np.testing.assert_allclose(result.per_user[f"{name}@{k}"], values, rtol=1e-12, err_msg=name)
        assert result.means[f"{name}@{k}"] == pytest.approx(np.mean(values), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_auc_matches_scikit_learn_including_ties(seed):
    model, train, test = fitted(seed)
    rng = np.random.default_rng(seed)
    model.user_factors, model.item_factors = (rng.integers(-1, 2, side.shape).astype(float)
                                              for side in (model.user_factors, model.item_factors))  # fmt: skip
    got = evaluate(model, test, metrics="auc")
    expected = [metrics.roc_auc_score(labels, scores) for _, scores, labels, n in users_of(model, train, test)
                if n < len(labels)]  # fmt: skip
    np.testing.assert_allclose(got.per_user["auc"], expected, rtol=1e-12)


def test_auc_is_nan_for_users_without_negatives():
    train, test = sp.csr_array([[1, 0, 1.0], [1, 0, 0]]), sp.csr_array([[0, 1.0, 0], [0, 1, 0]])
    got = evaluate(Popularity().fit(train), test, metrics="auc")
    assert np.isnan(got.per_user["auc"][0])
    assert got.means["auc"] == got.per_user["auc"][1]


def test_catalogue_metrics_by_hand():
    # Popularity: item 0 for user 2 (who has seen 1), item 1 for users 0 and 1, who have seen 0.
    train = sp.csr_array(np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], float))
    test = sp.csr_array(np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float))
    got = evaluate(Popularity().fit(train), test, k=1)
    assert got.means["coverage@1"] == 0.5
    assert got.means["novelty@1"] == pytest.approx((2 * -math.log2(1 / 3) - math.log2(2 / 3)) / 3)
    # Exposures 0, 0, 1, 2: (-3 * 0 - 1 * 0 + 1 * 1 + 3 * 2) / (4 * 3)
    assert got.means["gini@1"] == pytest.approx(7 / 12)
    assert got.means["hit_rate@1"] == pytest.approx(1 / 3)


def ratings(seed=0):
    rng = np.random.default_rng(seed)
    return sp.random_array((M, N), density=0.4, rng=rng, format="csr",
                           data_sampler=lambda size: rng.integers(0, 6, size).astype(float))  # fmt: skip


@pytest.mark.parametrize("model", [ExplicitALS(factors=3, random_state=0), BiasedMF(factors=3, random_state=0)])
def test_rating_errors_include_ratings_of_zero(model):
    train, test = random_split(ratings(), 0.25, random_state=1)
    model.fit(train)
    got = evaluate(model, test)
    table = test.tocoo()
    errors = model.predict(table.row, table.col).astype(float) - table.data
    assert (table.data == 0).any()
    assert got.means["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert got.means["mae"] == pytest.approx(np.mean(np.abs(errors)))
    assert got.n_test_pairs == test.nnz
    first = errors[table.row == got.users[0]]
    assert got.per_user["rmse"][0] == pytest.approx(np.sqrt(np.mean(first**2)))
    interval = got.interval("rmse")
    assert interval.low < interval.value < interval.high
    assert evaluate(model, test, k=5, relevant_from=4).means["ndcg@5"] < got.means["ndcg@10"]


def test_users_without_test_items_are_counted():
    model, _train, test = fitted()
    table = test.tolil()
    table[:7] = 0
    got = evaluate(model, sp.csr_array(table), k=5)
    tested = [u for u in range(7, M) if len(test[[u]].indices)]
    assert (got.n_users_without_test, got.n_users_evaluated) == (M - len(tested), len(tested))
    assert got.users.tolist() == tested
    nobody = evaluate(model, sp.csr_array((M, N)), k=5)
    assert nobody.n_users_evaluated == 0
    assert np.isnan(nobody.means["ndcg@5"])
    assert "0 users" in str(nobody)
    one = sp.csr_array(([1.0], ([tested[0]], test[[tested[0]]].indices[:1])), shape=(M, N))
    assert str(evaluate(model, one, k=5)).endswith(f"1 user with 1 test interaction; {M - 1} users have none")


def test_raw_ids_change_nothing_but_the_names():
    model, _train, test = fitted()
    pairs = choices().tocoo()
    named = Interactions.from_arrays([f"u{u:02}" for u in pairs.row], [f"i{i:02}" for i in pairs.col])
    named = named.reindex(users=[f"u{u:02}" for u in range(M)], items=[f"i{i:02}" for i in range(N)])
    parts = random_split(named, 0.3, random_state=0)
    other = ImplicitALS(factors=6, random_state=0, dtype="float64").fit(parts[0])
    got, expected = evaluate(other, parts[1]), evaluate(model, test)
    assert got.means == expected.means
    assert got.users.tolist() == [f"u{u:02}" for u in expected.users]
    stranger = Interactions.from_arrays(["u01"], ["unheard of"])
    with pytest.raises(ValueError, match="test must contain only items of the fit, got 1 others, such as 'unheard of'"):
        evaluate(other, stranger)


def test_new_users_are_folded_in():
    parts = hold_out_users(choices(density=0.4), 15, random_state=0)
    model = ImplicitALS(factors=6, random_state=0, dtype="float64").fit(parts.train)
    got = evaluate(model, parts.test, user_items=parts.fold_in, k=5)
    ids, _ = model.recommend(None, 5, user_items=parts.fold_in)
    hits = [np.isin(row, parts.test[[u]].indices).any() for u, row in enumerate(ids)]
    np.testing.assert_array_equal(got.per_user["hit_rate@5"], hits)
    assert got.n_users_evaluated == 15


def test_candidates_restrict_the_ranking():
    train, test = leave_one_out(choices(), random_state=0)
    model = ImplicitALS(factors=6, random_state=0, dtype="float64").fit(train)
    candidates = sample_negatives(train, test, 9, random_state=0)
    got = evaluate(model, test, k=3, candidates=candidates)
    scores = model.user_factors @ model.item_factors.T
    expected = [
        np.isin(test[[u]].indices, (listed := candidates[[u]].indices)[np.argsort(-scores[u, listed])[:3]]).any()
        for u in got.users
    ]
    np.testing.assert_array_equal(got.per_user["hit_rate@3"], expected)
    assert set(got.means) == {
        f"{name}@3" for name in ("hit_rate", "precision", "recall", "truncated_recall", "ndcg", "map", "mrr")
    }
    assert got.means["hit_rate@3"] > evaluate(model, test, k=3).means["hit_rate@3"]


@pytest.mark.parametrize("kind", [ImplicitALS, CosineMF])
def test_results_do_not_depend_on_threads_or_blocks(kind, monkeypatch):
    data = choices(3)
    if kind is CosineMF:
        data.data[::3] = 0
    train, test = leave_k_out(data, 2, random_state=0)
    results = []
    for threads, block in ((1, 4096), (2, 7), (8, 13)):
        monkeypatch.setattr("alternant.evaluation._held_out.BLOCK", block)
        model = kind(factors=8, random_state=0, num_threads=threads).fit(train)
        results.append(evaluate(model, test, k=(3, 7)))
    for other in results[1:]:
        assert other.means == results[0].means
    assert 0.3 < results[0].means["auc"] <= 1


def test_bootstrap_intervals_have_nominal_coverage():
    rng = np.random.default_rng(0)
    model, _, test = fitted()
    covered = 0
    base = evaluate(model, test, k=5, metrics="ndcg")
    for _ in range(200):
        sums = base._sums["ndcg@5"]
        drawn = type(sums)(rng.normal(3, 1, 50), np.ones(50))
        sample = type(base)({"x": drawn.mean()}, {}, np.arange(50), 50, 0, 50, {"x": drawn})
        interval = sample.interval("x", 0.9, n_resamples=300)
        covered += interval.low <= 3 <= interval.high
    assert 165 <= covered <= 195


def test_paired_differences_have_narrower_intervals():
    data = datasets.load_msweb().interactions[:3000]
    train, test = leave_one_out(data, random_state=0)
    good, plain = ImplicitALS(factors=16, random_state=0).fit(train), Popularity().fit(train)
    mine, theirs = evaluate(good, test, k=10), evaluate(plain, test, k=10)
    gain = mine.difference(theirs, "ndcg@10")
    assert gain.value == pytest.approx(mine.means["ndcg@10"] - theirs.means["ndcg@10"])
    assert 0 < gain.low < gain.value < gain.high
    assert gain == mine.difference(theirs, "ndcg@10")  # seeded
    one, other = mine.interval("ndcg@10"), theirs.interval("ndcg@10")
    assert gain.high - gain.low < (one.high - one.low) + (other.high - other.low)
    assert mine.difference(mine, "auc") == (0, 0, 0)
    with pytest.raises(ValueError, match="both evaluations must be of the same users"):
        mine.difference(evaluate(plain, sp.csr_array(test.shape), k=10), "ndcg@10")
    with pytest.raises(ValueError, match="metric must be one of"):
        mine.interval("coverage@10")


def test_the_table_fits_80_columns_and_the_json_is_complete():
    model, _, test = fitted()
    for k in (5, (5, 10, 20), (1, 2, 3, 4, 5, 6)):
        result = evaluate(model, test, k=k)
        assert max(map(len, str(result).splitlines())) <= 80
        data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert data["means"]["auc"] == result.means["auc"]
        assert set(data["intervals"]) == set(result.per_user)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"k": 0}, ValueError, "k must be at least 1, got 0"),
    ({"k": []}, ValueError, "k must hold at least one list length"),
    ({"k": 1.5}, TypeError, "k must be a whole number"),
    ({"metrics": "ndgc"}, ValueError, "metrics must be among hit_rate, .*, got 'ndgc'"),
    ({"metrics": []}, ValueError, "metrics must name at least one"),
    ({"metrics": ["rmse"]}, ValueError, "rmse measures predicted ratings, which ImplicitALS does not predict"),
    ({"test": sp.csr_array((M, N + 1))}, ValueError, "test must have 40 columns"),
    ({"test": sp.csr_array((M - 1, N))}, ValueError, "test must have one row for each of the 60 users"),
    ({"test": "test.csv"}, TypeError, "test must be a SciPy sparse matrix"),
    ({"user_items": sp.csr_array((3, N))}, ValueError, "one row for each new user, got 60 and 3"),
    ({"candidates": sp.csr_array((3, N))}, ValueError, "candidates must be a sparse matrix of the shape of test"),
    ({"candidates": sp.csr_array((M, N)), "metrics": ["auc"]}, ValueError, "auc ranks the whole catalogue"),
    ({"candidates": sp.csr_array((M, N))}, ValueError, "candidates must hold items to rank, got none: pass what"),
    ({"candidates": []}, ValueError, "candidates must hold items to rank, got none: leave candidates out"),
    ({"candidates": range(5), "k": (5, 20)}, ValueError, "got 5 for k=5, so that every list would hold all of"),
    ({"test": EVENTS}, TypeError, r"test must be Interactions, or a matrix, got Events: pass events.inter"),
    ({"user_items": EVENTS}, TypeError, r"user_items must be Interactions, or a matrix, got Events: pass events.inte"),
])  # fmt: skip
def test_invalid_arguments_are_rejected(change, error, message):
    model, _, test = fitted()
    with pytest.raises(error, match=message):
        evaluate(**{"model": model, "test": test} | change)


def test_the_shortest_list_must_leave_a_candidate_out():
    model, _, test = fitted()
    assert 0 < evaluate(model, test, k=(4, 20), candidates=range(5), metrics="ndcg").means["ndcg@20"] < 1


def test_features_need_a_model_that_learns_from_them():
    model = LogisticMF(factors=2, epochs=1).fit(choices(3), show_progress=False)
    for call in (
        lambda: evaluate(model, choices(3), user_features=np.ones((M, 1))),
        lambda: model.fit(choices(3), item_features=np.ones((N, 1))),
        lambda: model.partial_fit(([0], [1]), user_features=np.ones((M, 1))),
        lambda: model.fold_in_users(choices(3), user_features=np.ones((M, 1))),
    ):
        refuses(TypeError, "_features need a model that learns from features, got LogisticMF: use ImplicitALS, "
                "ExplicitALS or BPR, or leave them out", call, model.user_factors)  # fmt: skip


def test_only_models_are_evaluated():
    for model, found in (("als", "str"), (BPR, "the class BPR")):
        refuses(TypeError, f"model must be a fitted alternant model, got {found}: pass the model itself",
                lambda model=model: evaluate(model, choices(3)))  # fmt: skip


def test_new_users_are_new():
    """Lists of users whom the model knows would tell nothing of new ones."""
    rng = np.random.default_rng(0)
    table = Interactions.from_arrays(rng.integers(0, 40, 600), rng.integers(0, 30, 600))
    features = Features.from_arrays(table.user_ids, {"group": table.user_ids % 3})
    split = hold_out_users(table, 10, random_state=0)
    model = ImplicitALS(factors=3, random_state=0, feature_regularization=1.0)
    model.fit(split.train, user_features=features)
    assert evaluate(model, split.test, k=5, user_features=features).n_users_evaluated == 10
    train, test = random_split(table, random_state=0)
    model.fit(train, user_features=features)
    refuses(ValueError, r"user_features must be of users that the model was not fitted on, got 4\d of 4\d that it was, "
            "such as [0-9]+: fit on the train part of hold_out_users, or leave user_features out",
            lambda: evaluate(model, test, k=5, user_features=features))  # fmt: skip
    assert evaluate(model, test, k=5, user_items=train).n_users_evaluated > 30, "their test pairs are not in the fit"
    refuses(ValueError, "test must hold no pair that the model has seen",
            lambda: evaluate(model, train, k=5, user_items=test))  # fmt: skip
    events = Events.from_arrays(rng.integers(0, 40, 600), rng.integers(0, 30, 600), ["view"] * 600)
    held = split_kind(events, "view", hold_out_users, n_users=10, random_state=0)
    model.fit(held.train.interactions(), user_features=features)  # which has held-out users, without interactions
    known = held.fold_in.interactions().reindex(users=held.users)
    test = held.test.reindex(users=held.users)
    assert evaluate(model, test, k=5, user_items=known, user_features=features).n_users_evaluated == 10


def test_a_test_pair_that_was_trained_on_is_refused():
    model, train, test = fitted()
    with pytest.raises(ValueError, match=r"test must hold no pair that the model has seen, got .*: the split leak"):
        evaluate(model, train)
    assert evaluate(model, train, exclude_seen=False, k=5).n_users_evaluated == M
    with pytest.raises(ValueError, match="not fitted"):
        evaluate(ImplicitALS(), test)
