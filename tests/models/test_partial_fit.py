"""`partial_fit` learns new events, new users and items among them, and leaves a model nearly as a fit of all would."""

import copy
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model, feedback, name_of, small
from refusal import refuses

from alternant import (
    BPR,
    EASE,
    BiasedMF,
    ContrastiveMF,
    CosineMF,
    Events,
    ExplicitALS,
    Features,
    ImplicitALS,
    Interactions,
    LogisticMF,
    Popularity,
)
from alternant.data.csr import CSR
from alternant.data.merge import columns_of, merge
from alternant.datasets import load_msweb
from alternant.models import FactorModel
from alternant.models._partial_fit import Change
from alternant.models.als.update import stale_items
from alternant.models.sgd.pairwise import with_repeats

M, N, OLD_M, OLD_N = 40, 25, 36, 22
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5
LATER = KNOWN & (rng.random((M, N)) < 0.1)
LATER[OLD_M:], LATER[:, OLD_N:] = KNOWN[OLD_M:], KNOWN[:, OLD_N:]
COUNTS = sp.csr_array(np.where(KNOWN, np.ceil(np.exp(UTILITY)), 0.0))
EARLIER = (KNOWN & ~LATER)[:OLD_M, :OLD_N]


def rows_for(model, known=KNOWN):
    return feedback(UTILITY[: known.shape[0], : known.shape[1]], known, model.traits.feedback)


def columns_for(model, known=LATER):
    entries = rows_for(model, known).tocoo()
    return entries.row, entries.col, entries.data


def named(users, items, values):
    return Interactions.from_arrays([f"u{u:02}" for u in users], [f"i{i:02}" for i in items], values)


@pytest.fixture(params=every_model(), ids=name_of)
def model(request):
    model = type(request.param)(**request.param.get_params())
    return model.fit(rows_for(model, EARLIER))


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes(), model.interactions_.data.tobytes()


def test_events_are_learned_and_no_longer_recommended(model):
    assert model.partial_fit(columns_for(model)) is model
    assert (len(model.user_factors), len(model.item_factors)) == model.interactions_.shape == (M, N)
    assert (model.interactions_.to_scipy() != sp.csr_array(rows_for(model))).nnz == 0
    ids, scores = model.recommend(np.arange(M), N)
    assert not KNOWN[np.arange(M)[:, None], ids][ids >= 0].any()
    assert np.isfinite(scores[ids >= 0]).all()


def test_a_matrix_a_tuple_and_interactions_are_the_same_events(model):
    other, with_ids = copy.deepcopy(model), type(model)(**model.get_params())
    users, items, values = columns_for(model)
    model.partial_fit((users, items, values))
    other.partial_fit(rows_for(other, LATER))
    earlier = rows_for(with_ids, EARLIER).tocoo()
    with_ids.fit(named(earlier.row, earlier.col, earlier.data)).partial_fit(named(users, items, values))
    assert bits(model) == bits(other) == bits(with_ids)
    assert with_ids.user_ids_.tolist() == [f"u{u:02}" for u in range(M)]
    again = copy.deepcopy(with_ids).partial_fit((["u00", "new"], ["i03", "i01"], [1, 1]))  # ids, in a tuple
    assert again.user_ids_.tolist()[-1] == "new"
    assert again.recommend("new", 3)[0].shape == (3,)


def test_one_seed_gives_the_same_bits_on_any_number_of_threads_and_after_a_load(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    others = [type(model).load(tmp_path / "model.safetensors", mmap=mmap) for mmap in (False, True)]
    others[0].set_params(num_threads=3)
    for one in (model, *others):
        one.partial_fit(columns_for(model))
    assert bits(model) == bits(others[0]) == bits(others[1])


def test_the_share_of_new_events_is_told_saved_and_reset_by_a_fit(model, tmp_path):
    assert model.partial_share_ == 0
    model.partial_fit(columns_for(model))
    share = LATER.sum() / KNOWN.sum()
    assert model.partial_share_ == pytest.approx(share)
    model.save(tmp_path / "model.safetensors")
    assert FactorModel.load(tmp_path / "model.safetensors").partial_share_ == model.partial_share_
    model.partial_fit((columns_for(model)[0][:0], [], []))  # a night without events
    assert model.partial_share_ == pytest.approx(share)
    assert model.fit(rows_for(model)).partial_share_ == 0


def test_an_unfitted_model_is_fitted_on_the_events():
    for model in every_model():
        events, fitted = columns_for(model, EARLIER), type(model)(**model.get_params())
        fitted.fit(rows_for(model, EARLIER))
        assert bits(model.partial_fit(events)) == bits(fitted)


def test_readers_see_the_model_before_or_after(model):
    before, seen = bits(model), []
    original = type(model)._learn_from

    def watched(trial, change, **options):
        original(trial, change, **options)
        seen.append(bits(model))

    type(model)._learn_from = watched
    try:
        model.partial_fit(columns_for(model))
    finally:
        type(model)._learn_from = original
    assert seen == [before]
    assert bits(model) != before


def test_no_night_of_four_threads_is_lost(model):
    """Changes exclude each other."""
    users, items, values = columns_for(model, EARLIER)
    model.fit(named(users, items, values))
    nights = [named([100 + thread] * 3, [0, 1, 2], [1.0] * 3) for thread in range(4)]
    threads = [threading.Thread(target=model.partial_fit, args=(night,)) for night in nights]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(model.user_ids_.tolist()[OLD_M:]) == [f"u{100 + thread}" for thread in range(4)]
    assert len(model.interactions_.data) == len(values) + 12


def test_an_error_in_the_middle_leaves_the_model_as_it_was(model, monkeypatch):
    before, ids = bits(model), model.interactions_.shape

    def fails(**state):
        raise MemoryError

    monkeypatch.setattr(type(model), "_assign", lambda self, **state: fails())
    with pytest.raises(MemoryError):
        model.partial_fit(columns_for(model))
    monkeypatch.undo()
    assert bits(model) == before
    assert model.interactions_.shape == ids
    model.recommend([0, 1], 3)


@pytest.mark.parametrize(("events", "error", "message"), [
    (([0], [1, 2]), ValueError, "users, items and values must have the same length, one entry per event, got users"),
    (([0], [1], [np.inf]), ValueError, r"values must be finite, got inf for event 0 \(1 such values\): leave these"),
    (([0, 0], [1, 2], [1, np.nan]), ValueError, "values must be finite, got nan for event 1"),
    ([[0, 1], [1, 2]], TypeError, "events in columns must be a tuple, .* got a list of 2, which is a"),
    ([["a"], ["b"], [1]], TypeError, "events in columns must be a tuple, .* got a list of 3"),
    (Events.from_arrays([0], [1], ["view"]), TypeError, r"got Events: pass events.interactions\(weights\)$"),
    (([0, M], [1, 1]), IndexError, f"users to append must be numbered from {OLD_M} without gaps, got {M}"),
    (([-1], [1]), IndexError, "users must lie between 0 and"),
    (([0.5], [1]), TypeError, "users must be whole numbers"),
    (([0], [1], [1], [1]), ValueError, r"events must be \(users, items\) or \(users, items, values\), got a"),
    (sp.csr_array(np.ones((OLD_M, 3))), ValueError, f"X has 3 features, but ImplicitALS is expecting {OLD_N}"),
    (sp.csr_array(np.ones((2, OLD_N))), ValueError, r"events must have a row for each of the 36 users .* pass \(users"),
    (named([0], [0], [1.0]), TypeError, "events must be a matrix, as the model was fitted on a matrix"),
    ("u1", TypeError, "events must be a SciPy sparse matrix"),
])  # fmt: skip
def test_wrong_events_are_refused_in_one_sentence(events, error, message):
    model = small(ImplicitALS)
    model.fit(rows_for(model, EARLIER))
    refuses(error, message, lambda: model.partial_fit(events), model.user_factors, model.item_factors)


def test_a_model_without_interactions_or_with_ids_of_another_type_is_refused(tmp_path):
    model = small(ImplicitALS)
    earlier = rows_for(model, EARLIER).tocoo()
    model.fit(named(earlier.row, earlier.col, earlier.data))
    refuses(TypeError, "events must have user ids of the known type, str",
            lambda: model.partial_fit(Interactions.from_arrays([1], [2])), model.user_ids_)  # fmt: skip
    wide = rows_for(model, LATER)
    refuses(ValueError, "must be Interactions, as this model has raw ids", lambda: model.partial_fit(wide))
    model.save(tmp_path / "model.safetensors", interactions=False)
    bare = ImplicitALS.load(tmp_path / "model.safetensors")
    refuses(ValueError, "call fit with all interactions", lambda: bare.partial_fit(named([0], [0], [1.0])))


def test_counts_add_up_and_ratings_replace():
    counts = Popularity(weighted=True).fit(sp.csr_array([[2.0, 0, 1], [1, 1, 0]]))
    counts.partial_fit(([0, 0, 1], [0, 0, 2], [3.0, 1.0, 5.0]))
    np.testing.assert_array_equal(counts.interactions_.to_scipy().toarray(), [[6, 0, 1], [1, 1, 5]])
    np.testing.assert_array_equal(counts.item_factors[:, 0], [7, 1, 6])
    cancelled = Popularity().fit(sp.csr_array([[2.0, 0, 1], [1, 1, 0]])).partial_fit(([0], [0], [-2.0]))
    assert cancelled.interactions_.data.tolist() == [1, 1, 1]  # no stored zeros
    ratings = ExplicitALS(factors=2, iterations=2, random_state=0).fit([[5, 3, np.nan], [4, np.nan, 1]])
    ratings.partial_fit(([0, 1, 1], [0, 1, 1], [1.0, 5.0, 2.0]))
    np.testing.assert_array_equal(ratings.interactions_.to_scipy().toarray(), [[1, 3, 0], [4, 2, 1]])


def test_merged_matrices_equal_dense_sums_and_replacements():
    for _ in range(60):
        (m, n), (p, q) = rng.integers(1, 8, 2), rng.integers(1, 9, 2)
        one, two = (np.where(rng.random(shape) < 0.4, rng.integers(-2, 3, shape), 0.0) for shape in ((m, n), (p, q)))
        A, B = np.zeros((2, max(m, p), max(n, q)))
        A[:m, :n], B[:p, :q] = one, two
        for add, expected in ((True, A + B), (False, np.where(B != 0, B, A))):
            merged, at, fresh = merge(csr(one), csr(two), add)
            np.testing.assert_array_equal(merged.to_scipy().toarray(), expected)
            assert merged.to_scipy().has_canonical_format
            rows, columns = (part[at] for part in merged.positions())
            assert (B[rows, columns] != 0).all()
            np.testing.assert_array_equal(fresh, A[rows, columns] == 0)
        chosen = np.flatnonzero(rng.random(len(A[0])) < 0.5)
        np.testing.assert_array_equal(columns_of(merged, chosen).to_scipy().toarray(), expected.T[chosen])


def csr(dense):
    matrix = sp.csr_array(dense)
    return CSR.of(matrix.indptr, matrix.indices, matrix.data, matrix.shape)


def change_of(before, events, add=True):
    rows, at, fresh = merge(csr(before), csr(events), add)
    users, items = np.flatnonzero(events.any(1)), np.flatnonzero(events.any(0))
    return Change(rows, users, items, at, fresh, before.shape)


# --- least squares ------------------------------------------------------------------------------------------------


def test_an_item_is_solved_when_it_has_grown_by_a_quarter_and_not_for_one_more_user():
    before = np.zeros((200, 3))
    before[:100, 0], before[:3, 1] = 1, 1
    events = np.zeros((200, 4))
    events[100, 0] = events[3, 1] = events[0, 3] = 1
    assert stale_items(change_of(before, events)).tolist() == [1, 3]
    events[100:130, 0] = 1
    assert stale_items(change_of(before, events)).tolist() == [0, 1, 3]
    again = np.zeros((200, 3))
    again[:30, 0] = 1  # known pairs
    assert stale_items(change_of(before, again)).tolist() == [0]


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_users_with_events_are_solved_for_the_new_items(cls, solver):
    model = small(cls, solver=solver, tol=1e-7, max_cg_steps=50, dtype="float64", iterations=5)
    model.fit(rows_for(model, EARLIER)).partial_fit(columns_for(model))
    changed = np.flatnonzero(LATER.any(1))
    expected = model.fold_in_users(rows_for(model)[changed])
    np.testing.assert_allclose(model.user_factors[changed], expected, rtol=1e-5, atol=1e-6)
    same = np.setdiff1d(np.arange(OLD_M), changed)
    before = small(cls, solver=solver, tol=1e-7, max_cg_steps=50, dtype="float64", iterations=5)
    before.fit(rows_for(model, EARLIER))
    np.testing.assert_array_equal(model.user_factors[same], before.user_factors[same])


def test_features_of_new_rows_are_taken_and_known_rows_keep_theirs():
    model = small(ImplicitALS, feature_regularization=1.0)
    earlier = rows_for(model, EARLIER).tocoo()
    years = Features.from_arrays([f"i{i:02}" for i in range(N)], {"year": np.arange(N) % 7.0})
    old = Features.from_arrays([f"i{i:02}" for i in range(OLD_N)], {"year": np.arange(OLD_N) % 7.0})
    model.fit(named(earlier.row, earlier.col, earlier.data), item_features=old)
    twin = copy.deepcopy(model)
    model.partial_fit(named(*columns_for(model)), item_features=years)
    twin.partial_fit(named(*columns_for(model)))
    known = model._item_prior.known
    assert known.all()
    assert twin._item_prior.known.tolist() == [True] * OLD_N + [False] * (N - OLD_N)
    refuses(ValueError, "user_features need a model that was fitted with user_features",
            lambda: model.partial_fit(named([0], [0], [1.0]), user_features=np.ones((0, 1))))  # fmt: skip


def test_new_items_without_events_are_what_the_model_says_of_unknown_ones():
    ratings = rows_for(ExplicitALS(), EARLIER)
    model = small(ExplicitALS).fit(ratings).partial_fit(([0], [0], [4.0]))
    wide = copy.deepcopy(model).partial_fit(sp.csr_array(([4.0], ([0], [0])), shape=(OLD_M, OLD_N + 1)))
    bias = model.user_factors[3, -2]
    np.testing.assert_allclose(wide.predict([3], [OLD_N]), model.mean_ + bias, rtol=1e-5)
    years = np.arange(N)[:, None] % 7.0
    model = small(ImplicitALS, feature_regularization=1.0)
    model.fit(rows_for(model, EARLIER), item_features=years[:OLD_N])
    expected = model.fold_in_items(item_features=years[OLD_N:])
    model.partial_fit(sp.csr_array(([1.0], ([0], [0])), shape=(OLD_M, N)), item_features=years[OLD_N:])
    np.testing.assert_allclose(model.item_factors[OLD_N:], expected, rtol=1e-5)


# --- gradient descent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [BPR, ContrastiveMF, LogisticMF])
def test_steps_continue_with_the_sums_of_the_fit(cls, tmp_path):
    """Without them, Adagrad's first steps would be as long as in the first epoch of a fit."""
    model = small(cls, epochs=20)
    model.fit(rows_for(model, EARLIER))
    assert all(mean > 0 for mean in model.mean_squares_)
    fresh = copy.deepcopy(model)
    fresh.mean_squares_ = tuple(0.0 for _ in model.mean_squares_)
    start = model.item_factors
    moved = [
        np.abs(one.partial_fit(columns_for(one)).item_factors[:OLD_N] - start).mean() for one in (model, fresh)
    ]
    assert moved[0] < 0.8 * moved[1]


@pytest.mark.parametrize("normalization", [0.0, 0.25])
def test_a_night_does_not_depend_on_how_the_fixed_side_is_transformed(normalization, monkeypatch):
    """All of its rows at once, or those that are read."""
    options = {"factors": 6, "degree_normalization": normalization, "random_state": 0, "dtype": "float64"}
    fitted, solved = ImplicitALS(**options).fit(COUNTS), []
    for entries in (0, 1 << 40):
        monkeypatch.setattr("alternant.models.als.implicit_objective.NIGHT_ENTRIES", entries)
        model = copy.deepcopy(fitted).partial_fit(([3, 7, M], [0, 5, 5], [1.0, 2.0, 1.0]))
        solved.append(np.vstack([model.user_factors, model.item_factors]))
    np.testing.assert_allclose(solved[0], solved[1], rtol=0, atol=1e-12)
    assert (solved[0][[3, 7]] != fitted.user_factors[[3, 7]]).any(axis=1).all()


def test_a_night_of_bpr_takes_the_new_events_of_known_users_several_times():
    """But no user who has been folded in, and an item for no more than a quarter of its interactions."""
    before, events = np.zeros((30, 20)), np.zeros((31, 21))
    before[:, :5], before[:12, 5:15] = 1, 1
    events[15, 5] = events[16, 6] = events[17, 6] = events[3, 20] = events[30, 4] = 1
    change = change_of(before, events)
    repeated, times = with_repeats(change), (change.rows.to_scipy().toarray() > 0).astype(int)
    times[15, 5], times[16:18, 6] = 1 + 3, 1 + 1  # of 13 and 14
    np.testing.assert_array_equal(np.diff(repeated.indptr), times.sum(1))
    np.testing.assert_array_equal(repeated.column_counts(), times.sum(0))
    np.testing.assert_array_equal(repeated.to_scipy().sum(axis=1), times.sum(1))
    wide = np.zeros((200, 40))
    wide[:, :20] = 1
    few, many = np.zeros((2, 200, 40))
    wide[:50, 20], few[60, 20], many[60:120, 21:23], many[60, 20] = 1, 1, 1, 1
    assert with_repeats(change_of(wide, few)).column_counts()[20] == 50 + 8
    assert with_repeats(change_of(wide, many)).column_counts()[20] == 50 + 1 + 3  # a tenth of an epoch


@pytest.mark.parametrize("cls", [BiasedMF, CosineMF, LogisticMF, BPR, ImplicitALS, ExplicitALS])
def test_after_ten_nights_a_model_predicts_as_well_as_one_fitted_on_everything(cls):
    """On planted data, nearly: its predictions correlate with the utility by 0.9 to 1.01 times those of the fit."""
    generator = np.random.default_rng(1)
    m, n = 150, 80
    utility = generator.standard_normal((m, 2)) @ generator.standard_normal((2, n))
    known, held_out = generator.random((2, m, n)) < [[[0.3]], [[0.2]]]
    held_out &= ~known
    night = np.where(generator.random((m, n)) < 0.9, 0, generator.integers(1, 11, (m, n)))
    night[140:], night[:, 75:] = np.maximum(night[140:], 3), np.maximum(night[:, 75:], 5)

    def rows(kept):
        return feedback(utility, kept, cls.traits.feedback)

    def fit(kept):
        return small(cls, factors=4, iterations=8, epochs=30, regularization=0.003).fit(rows(kept), show_progress=False)

    def quality(model):
        """The correlation of predictions with utility."""
        users, items = np.nonzero(held_out)
        return np.corrcoef(model.predict(users, items), utility[users, items])[0, 1]

    model = fit(known & (night == 0))
    for number in range(1, 11):
        model.partial_fit(rows(known & (night == number)))
    assert quality(model) > 0.85 * quality(fit(known))


@pytest.mark.parametrize("cls", [BPR, ContrastiveMF, LogisticMF, ImplicitALS])
def test_a_new_item_is_recommended_about_as_often_as_after_a_fit(cls):
    visits = load_msweb().interactions[:1500].tocsc()
    by_users = np.argsort(-np.diff(visits.indptr))
    item, n = by_users[10], visits.shape[1]
    visits = visits[:, [*np.setdiff1d(np.arange(n), item), item]].tocsr()
    (users,) = np.nonzero(visits[:, [n - 1]].toarray()[:, 0])

    def share(model):
        return (model.recommend(np.arange(1500), 20)[0] == n - 1).any(axis=1).mean()

    fit = cls(factors=16, random_state=0).fit(visits, show_progress=False)
    model = cls(factors=16, random_state=0).fit(visits[:, :-1], show_progress=False)
    before = model.recommend(np.arange(1500), 20)[0]
    one = copy.copy(model).partial_fit((users[:1], [n - 1]))
    assert share(one) < 0.02
    assert 0.15 * share(fit) < share(model.partial_fit((users, np.full(len(users), n - 1)))) < 2 * share(fit)
    assert before.max() == n - 2


def test_a_fit_that_stopped_early_is_continued_at_its_rate():
    model = BPR(factors=3, epochs=500, early_stopping=0.5, patience=1, random_state=0).fit(COUNTS, show_progress=False)
    assert model.n_iter_ < 20
    before = model.item_factors.copy()
    model.partial_fit(([0], [3]))
    assert np.abs(model.item_factors - before).max() > 1e-3


def test_a_user_whose_interactions_were_taken_back_is_the_mean_user():
    model = ImplicitALS(factors=3, random_state=0).fit(COUNTS)
    items = COUNTS[[4]].indices
    model.partial_fit((np.full(len(items), 4), items, -COUNTS[[4]].data))
    np.testing.assert_allclose(model.recommend(4, 5)[1], model.cold_start(5)[1], rtol=1e-5)


def test_a_night_without_events_changes_nothing():
    likes = sp.csr_array((COUNTS.data % 2, COUNTS.indices, COUNTS.indptr), COUNTS.shape)
    for cls in (ImplicitALS, BPR, ContrastiveMF, CosineMF, LogisticMF, EASE):
        model = cls().fit(likes)
        before = np.array(model.item_factors)
        model.partial_fit(([], [])).partial_fit(sp.csr_array(COUNTS.shape))
        np.testing.assert_array_equal(np.array(model.item_factors), before)
        model.recommend([0], 2)
    named = ImplicitALS(factors=2).fit(Interactions.from_arrays(["a", "b"], ["x", "y"]))
    named.partial_fit(([], []))


def test_ratings_need_values():
    model = ExplicitALS(factors=2).fit(COUNTS)
    with pytest.raises(ValueError, match="events must hold ratings, got users and items only: pass"):
        model.partial_fit(([0], [1]))


@pytest.mark.parametrize("cls", [ImplicitALS, BPR, CosineMF])
def test_events_in_a_callback_of_fit_are_refused(cls):
    """The next iteration would set the factors and interactions of the fit again."""
    model, refused = small(cls), []

    def learn(_):
        calls = {"partial_fit": (([0], [1], [1.0]),), "partial_fit_users": ([0], COUNTS[[0]])}
        for name, arguments in (calls | ({"update": (0, 1, 1)} if cls is CosineMF else {})).items():
            with pytest.raises(RuntimeError, match=f"^{name} was called while this model is being fit.* after fit$"):
                getattr(model, name)(*arguments)
            refused.append(name)

    model.fit(rows_for(model, EARLIER), callback=learn, show_progress=False)
    assert {"partial_fit"} <= set(refused)


def test_single_events_count_in_the_share():
    model = small(CosineMF)
    model.fit(rows_for(model, EARLIER))
    known = EARLIER.sum()
    free = np.argwhere(~EARLIER)
    model.update(*free[0], 1).update(free[1:4, 0], free[1:4, 1], [1, 0, 7])  # 7 is neither a like nor a dislike
    assert model.partial_share_ == pytest.approx(3 / (known + 3))
    model.partial_fit((free[4:9, 0], free[4:9, 1], np.ones(5)))
    assert model.partial_share_ == pytest.approx(8 / (known + 8))
    model.update(*free[9], 1)
    assert model.partial_share_ == pytest.approx(9 / (known + 9), rel=1e-3)
    assert copy.deepcopy(model).partial_share_ == model.partial_share_
    assert model.fit(rows_for(model, EARLIER)).partial_share_ == 0
    assert CosineMF(factors=2).update("ann", "go", 1).partial_share_ == 1
    assert not hasattr(CosineMF(), "partial_share_")


def test_a_user_whose_only_item_is_new_has_the_list_of_a_stranger():
    """Not a list of zeros: the item is placed by the mean user."""
    model = small(ImplicitALS, iterations=8)
    model.fit(COUNTS)
    strange = model.cold_start(5)
    model.partial_fit(([M], [N]))
    ids, scores = model.recommend(M, 5)
    assert len(set(ids) & set(strange[0])) >= 3
    assert (scores > 0).all()


def test_many_events_take_more_epochs_of_contrastive_mf(monkeypatch):
    model = small(ContrastiveMF, epochs=60)
    model.fit(rows_for(model, EARLIER))
    assert model._night_epochs(60, 0.0199) == range(31, 33)
    assert model._night_epochs(60, 0.033) == range(31, 38)
    assert len(model._night_epochs(60, 0.9)) == 60
    assert len(model._night_epochs(3, 0.01)) == 1
    asked = []
    monkeypatch.setattr(ContrastiveMF, "_night_epochs", lambda _, *given: asked.append(given) or range(1, 2))
    model.partial_fit(columns_for(model))
    assert asked == [(60, pytest.approx(LATER.sum() / KNOWN.sum()))]
