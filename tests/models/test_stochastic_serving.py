"""BiasedMF, CosineMF and LogisticMF: held-out pairs, lists, fold-in, and what they take and refuse."""

import re
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BiasedMF, CosineMF, Interactions, LogisticMF
from alternant.models import NotFittedError
from alternant.models._checkpoint import Snapshot
from alternant.models._fit_loop import FitLoop, FitOptions, Iteration, Stopping
from alternant.models.sgd import epochs
from alternant.models.sgd import trainer as _sgd

M, N = 40, 30
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5
USERS, ITEMS = np.nonzero(KNOWN)


def matrix(values):
    return sp.csr_array((np.asarray(values, float)[KNOWN], (USERS, ITEMS)), shape=(M, N))


CASES = {
    "BiasedMF": (BiasedMF, matrix(np.clip(np.round(3 + UTILITY), 1, 5)), {"learning_rate": 0.03}),
    "BiasedMF in a range": (
        BiasedMF, matrix(np.clip(np.round(3 + UTILITY), 1, 5)), {"rating_range": (0.5, 5.5), "learning_rate": 0.05},
    ),
    "CosineMF": (CosineMF, matrix(UTILITY > 0), {}),  # dislikes are stored zeros
    "LogisticMF": (LogisticMF, matrix(np.where(UTILITY > 0, 1 + np.floor(UTILITY), -1)), {}),
    "LogisticMF, all negatives": (
        LogisticMF, matrix(np.where(UTILITY > 0, 1 + np.floor(UTILITY), -1)),
        {"negatives": "full", "optimizer": "sgd", "learning_rate": 0.02},
    ),
}  # fmt: skip


class Case:
    """A model class, what it learns from, and parameters."""

    def __init__(self, name):
        self.cls, self.rows, self.params = CASES[name]

    def make(self, **params):
        return self.cls(**{"factors": 5, "epochs": 3, "random_state": 0} | self.params | params)

    def fit(self, rows=None, fit=None, **params):
        return self.make(**params).fit(self.rows if rows is None else rows, **(fit or {}))


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


@pytest.fixture(params=["BiasedMF", "CosineMF", "LogisticMF"])
def plain(request):
    return Case(request.param)


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes()


# --- held-out pairs ---------------------------------------------------------------------------------------------------


def epochs_of(model, rows, **fit):
    """The bits of the factors after every epoch, and the pairs learned from."""
    seen = []
    model.fit(rows, callback=lambda state: seen.append((bits(state), state.users, state.items)), **fit)
    return [state[0] for state in seen], seen[0][1:]


def test_what_is_held_out_never_moves_a_factor(case):
    """Whatever their values are; and as a fit without them, measured on them, does from the same random bits."""
    expected, (users, items) = epochs_of(case.make(validation_fraction=0.25), case.rows)
    assert len(users) == round(0.75 * case.rows.nnz)
    held = np.ones(case.rows.shape, bool)
    held[users, items] = False
    other = case.rows.copy()
    changed = held[USERS, ITEMS]
    other.data[changed] = 1 - case.rows.data[changed] if case.cls is CosineMF else 2
    assert epochs_of(case.make(validation_fraction=0.25), other)[0] == expected

    generator = np.random.default_rng(0)
    rows = case.make()._check_rows("interactions", case.rows, np.dtype(np.float32))
    train, test = (part.to_scipy() for part in epochs.split(rows, 0.25, generator))
    assert train.nnz + test.nnz == case.rows.nnz
    assert not set(zip(*train.nonzero(), strict=True)) & set(zip(*test.nonzero(), strict=True))
    assert epochs_of(case.make(random_state=generator), train, validation=test)[0] == expected


@pytest.mark.parametrize("name", ["BiasedMF", "BiasedMF in a range", "CosineMF"])
def test_the_loss_of_held_out_pairs_is_that_of_their_predictions(name):
    plain = Case(name)
    train, test = (part.to_scipy() for part in epochs.split(
        plain.make()._check_rows("r", plain.rows, np.dtype(np.float64)), 0.3, np.random.default_rng(1)))  # fmt: skip
    losses = []

    def measure(state):
        truth = test.tocoo()
        p = model._score(state.user_factors, state.item_factors, truth.row.astype(int), truth.col.astype(int))
        losses.append(np.sqrt(np.mean((p - truth.data) ** 2)))

    model = plain.make(dtype="float64", epochs=4)
    model.fit(train, validation=test, callback=measure)
    np.testing.assert_allclose(model.history_["validation_rmse"], losses, rtol=1e-12)


def test_the_model_ends_with_its_best_epoch_and_stops_when_patience_ends(plain):
    held, states = [], []

    def scripted(self, *_):
        held.append([5.0, 3, 4, 3.5, 2, 6, 7, 8, 9][len(held)])
        return held[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain.cls, "_validation_loss", scripted)
        model = plain.make(epochs=9, validation_fraction=0.2, early_stopping=0.0, patience=3)
        model.fit(plain.rows, callback=lambda state: states.append(bits(state)))
        assert model.n_iter_ == 8  # 6, 7 and 8 are no better than 2
        assert bits(model) == states[4]
        held.clear()
        states.clear()
        model.set_params(patience=2).fit(plain.rows, callback=lambda state: states.append(bits(state)))
        assert model.n_iter_ == 4  # 4 and 3.5 are no better than 3
        assert bits(model) == states[1]
        held.clear()
        states.clear()
        model.set_params(early_stopping=None).fit(plain.rows, callback=lambda state: states.append(bits(state)))
        assert model.n_iter_ == 9
        assert bits(model) == states[4]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 3), (3, 4)])
def test_the_first_epoch_is_not_one_that_failed_to_improve(patience, epochs):
    done = Iteration(np.zeros((1, 1)), np.zeros((1, 1)), {"objective": 1.0})
    options = FitOptions(show_progress=False)
    with FitLoop(9, Stopping(0.0, "objective", patience), options, None, lambda *_: None) as loop:
        for _ in loop:
            loop.end(done, Snapshot)
    assert loop.number == epochs


def test_without_held_out_pairs_the_objective_is_watched(plain):
    model = plain.fit(epochs=200, early_stopping=0.02, patience=1)
    assert 2 < model.n_iter_ < 200
    assert "validation" not in "".join(model.history_)


@pytest.mark.parametrize(("validation", "message"), [
    (lambda rows: rows[:5], rf"shape of interactions, \({M}, {N}\), got \(5, {N}\)"),
    (lambda rows: rows.T, "validation must have the shape"),
    (lambda rows: sp.csr_array((M, N)), "validation must contain at least one known pair, got none"),
    (lambda rows: "all", "validation must be a SciPy sparse matrix"),
])  # fmt: skip
def test_a_validation_set_that_does_not_fit_is_refused(plain, validation, message):
    model = plain.fit()
    before = bits(model)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(plain.rows, validation=validation(plain.rows))
    assert bits(model) == before


def test_one_pair_can_not_be_split(plain):
    with pytest.raises(ValueError, match="validation_fraction needs at least 2 known pairs to split, got 1"):
        plain.make(validation_fraction=0.5).fit(sp.csr_array(([1.0], ([0], [0])), shape=(2, 2)))
    rows = sp.csr_array(([1.0, 1, 1], ([0, 1, 1], [0, 0, 1])), shape=(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CosineMF sees no dislike
        for fraction in (1e-9, 0.999):
            assert plain.make(validation_fraction=fraction).fit(rows).n_iter_ == 3


# --- lists ------------------------------------------------------------------------------------------------------------


def test_lists_are_a_full_sort_of_the_predictions(case):
    model = case.fit(dtype="float64")
    scores = model.predict(np.arange(M)[:, None], np.arange(N))
    assert scores.shape == (M, N)
    allowed = np.setdiff1d(np.arange(0, N, 2), [4, 8])
    for options, open_to in (
        ({"exclude_seen": False}, np.ones((M, N), bool)),
        ({}, ~KNOWN),
        ({"exclude_items": [4, 8], "candidate_items": np.arange(0, N, 2)}, ~KNOWN & np.isin(np.arange(N), allowed)),
    ):
        ids, best = model.recommend(np.arange(M), N, **options)
        for u in range(M):
            count = open_to[u].sum()
            assert (ids[u, count:] == -1).all()
            assert (best[u, count:] == -np.inf).all()
            np.testing.assert_allclose(best[u, :count], np.sort(scores[u, open_to[u]])[::-1], rtol=1e-12)
            np.testing.assert_allclose(scores[u, ids[u, :count]], best[u, :count], rtol=1e-12)
    assert isinstance(model.predict(0, 0), float)


def test_dense_tables_and_whole_matrices_name_what_was_seen(plain):
    model = plain.fit()
    expected = model.recommend([5, 2], 6)[0]
    tables = [plain.rows, plain.rows[[5, 2]]]
    if plain.cls is not LogisticMF:
        tables += [np.where(KNOWN, plain.rows.toarray(), np.nan), np.where(KNOWN, plain.rows.toarray(), np.nan)[[5, 2]]]
    for table in tables:
        np.testing.assert_array_equal(model.recommend([5, 2], 6, user_items=table)[0], expected)
        if len(tables) == 4:
            with pytest.raises(ValueError, match=r"one row for each of the 2 users, .*, got 3 rows"):
                model.recommend([5, 2], 6, user_items=tables[-1][[0, 0, 1]])


def test_neighbours_are_found_by_the_vectors_without_biases(case):
    model = case.fit(dtype="float64")
    similar_items = partial(model.similar_items, shrinkage=0)
    for side, similar in ((model.item_factors, similar_items), (model.user_factors, model.similar_users)):
        vectors = side[:, : model.factors]
        unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        ids, cosines = similar(3, 5)
        order = np.argsort(-(unit @ unit[3]))
        np.testing.assert_array_equal(ids, order[order != 3][:5])
        np.testing.assert_allclose(cosines, (unit @ unit[3])[ids], rtol=1e-12)


# --- fold-in ----------------------------------------------------------------------------------------------------------


@pytest.mark.many_steps
def test_folding_in_a_user_of_the_fit_comes_close_to_what_the_fit_predicts(case):
    """The predictions of all pairs correlate by at least 0.95 with those of the fit."""
    model = case.fit(epochs=60)
    trained = model.predict(np.arange(M)[:, None], np.arange(N))
    before = bits(model)
    users, items = model.fold_in_users(case.rows), model.fold_in_items(case.rows.T)
    assert users.shape == model.user_factors.shape
    assert items.shape == model.item_factors.shape
    assert bits(model) == before
    every = np.repeat(np.arange(M), N), np.tile(np.arange(N), M)
    for sides in ((users, model.item_factors), (model.user_factors, items)):
        assert np.corrcoef(model._score(*sides, *every), trained.ravel())[0, 1] > 0.95


def test_who_is_not_known_at_all_is_the_mean_user_to_the_bit(case):
    model = case.fit()
    for kind, n in (("user", N), ("item", M)):
        side, fold_in = getattr(model, f"{kind}_factors"), getattr(model, f"fold_in_{kind}s")
        folded = fold_in(sp.csr_array((3, n)))
        mean = side.mean(axis=0, dtype=np.float64).astype(side.dtype)
        np.testing.assert_array_equal(folded, np.tile(mean, (3, 1)))
        assert fold_in(sp.csr_array((0, n))).shape == (0, side.shape[1])


def test_new_users_get_lists_without_what_they_are_known_by(case):
    model = case.fit()
    ids, _ = model.recommend(None, N, user_items=case.rows[:4])
    folded = model.fold_in_users(case.rows[:4])
    for u in range(4):
        assert set(ids[u][ids[u] >= 0]) == set(np.flatnonzero(~KNOWN[u]))
        z = folded[u].astype(float) @ model.item_factors.T
        if case.cls is CosineMF:
            z /= np.linalg.norm(model.item_factors, axis=1)
        order = z[ids[u][ids[u] >= 0]]
        assert (np.diff(order) <= 1e-5 * np.abs(z).max()).all()
    assert bits(model) == bits(case.fit())


def test_a_user_is_folded_in_alike_wherever_it_stands(case, monkeypatch):
    """But for LogisticMF, whose sampled negatives depend on the place."""
    model = case.fit()
    together = model.fold_in_users(case.rows)
    monkeypatch.setattr(_sgd, "FOLD_IN_ROWS", 7)
    pieces = model.fold_in_users(case.rows)
    if case.cls is LogisticMF and model.negatives != "full":
        np.testing.assert_array_equal(pieces, model.set_params(num_threads=1).fold_in_users(case.rows))
    else:
        np.testing.assert_array_equal(pieces, together)
        np.testing.assert_array_equal(model.fold_in_users(case.rows[[9, 3]]), together[[9, 3]])


def test_folding_in_with_too_long_steps_says_so(plain):
    model = plain.fit().set_params(learning_rate=1e39)
    before = bits(model)
    with pytest.raises(OverflowError, match="folding in a new user diverges: lower learning_rate"):
        model.fold_in_users(plain.rows)
    assert bits(model) == before


# --- what is taken, and what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bsr", "coo", "csc", "csr", "dok", "lil"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_sparse_format_gives_the_same_model(plain, form, kind):
    rows = getattr(sp, f"csr_{kind}")(plain.rows)
    rows = getattr(sp, f"bsr_{kind}")(rows, blocksize=(1, 1)) if form == "bsr" else rows.asformat(form)
    assert bits(plain.fit(rows, epochs=1)) == bits(plain.fit(epochs=1))


@pytest.mark.parametrize("kind", [bool, np.int8, np.int64, np.float32, np.float64])
def test_dtypes_index_types_unsorted_and_read_only_arrays_give_the_same_model(plain, kind):
    rows = plain.rows.astype(kind)
    expected = bits(plain.fit(rows.astype(np.float64), epochs=1))
    for row in range(M):  # backwards
        part = slice(rows.indptr[row], rows.indptr[row + 1])
        rows.indices[part], rows.data[part] = rows.indices[part][::-1].copy(), rows.data[part][::-1].copy()
    rows = sp.csr_array((rows.data, rows.indices, rows.indptr), shape=(M, N))
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    for array in (rows.data, rows.indices, rows.indptr):
        array.flags.writeable = False
    assert bits(plain.fit(rows, epochs=1)) == expected


@pytest.mark.parametrize("name", ["BiasedMF", "BiasedMF in a range", "CosineMF"])
def test_a_dense_table_with_gaps_gives_the_same_model(name):
    case = Case(name)
    table = np.where(KNOWN, case.rows.toarray(), np.nan)
    for dense in (table, table.tolist(), np.asfortranarray(table.astype(np.float32))):
        assert bits(case.fit(dense, epochs=1)) == bits(case.fit(epochs=1))


def test_changing_the_input_after_the_fit_changes_nothing(plain):
    rows = plain.rows.astype(np.float32)
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    model = plain.fit(rows)
    kept = model.interactions_.data.copy(), model.interactions_.indices.copy(), model.recommend(0, 5)[0]
    rows.data[:], rows.indices[:] = 1, 0
    np.testing.assert_array_equal(model.interactions_.data, kept[0])
    np.testing.assert_array_equal(model.interactions_.indices, kept[1])
    np.testing.assert_array_equal(model.recommend(0, 5)[0], kept[2])


def test_a_transposed_table_is_recognized_sparse_or_dense(plain):
    model = plain.fit()
    tables = [plain.rows.T] if plain.cls is LogisticMF else [plain.rows.T, plain.rows.toarray().T,
                                                             plain.rows.toarray().T.tolist()]  # fmt: skip
    for table in tables:
        message = rf"user_items must have {N} columns .* got {M}: it looks transposed; pass user_items\.T"
        for call in (model.fold_in_users, lambda t: model.recommend(None, user_items=t),
                     lambda t: model.recommend([0], user_items=t)):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                call(table)
    with pytest.raises(ValueError, match=r"it looks transposed; pass item_users\.T"):
        model.fold_in_items(plain.rows)


class Frame:
    """What makes a data frame one."""

    columns, shape, dtype = ("user", "item", "rating"), (3, 3), None


@pytest.mark.parametrize("bad", [
    None, "rows.csv", {}, [], [[1, 2], [3]], [["a"]], np.ones(3), Frame(), sp.csr_array((M, N), dtype=complex),
    sp.csr_array(([np.inf], ([0], [0])), shape=(M, N)), sp.csr_array(([1e39], ([0], [0])), shape=(M, N)),
    sp.csr_array((M, N)), sp.csr_array((0, 0)), sp.coo_array(np.ones(3)),
], ids=lambda bad: type(bad).__name__)  # fmt: skip
def test_bad_input_is_refused_with_one_sentence_and_changes_nothing(plain, bad):
    model = plain.fit()
    before, held = bits(model), dict(model.__dict__)
    with pytest.raises((TypeError, ValueError)) as caught:
        model.fit(bad)
    assert type(caught.value) in (TypeError, ValueError)
    assert re.match(r"interactions must ", str(caught.value))
    assert not re.search(r"[.!] [A-Z]|\.$|\n", str(caught.value))
    assert model.__dict__ == held
    assert bits(model) == before


@pytest.mark.parametrize(("name", "values"), [
    ("epochs", (0, 1.5, "3", True)), ("learning_rate", (0, -1, np.nan, np.inf, "1")), ("learning_rate_decay", (0, -1)),
    ("validation_fraction", (-0.1, 1, 1.5, "half")), ("patience", (0, 1.5)), ("early_stopping", (-1, True)),
    ("factors", (0, 1.5)), ("init_scale", (0,)), ("dtype", ("float16", None)), ("random_state", (-1, "lucky")),
    ("num_threads", (0, 1.5)), ("backend", ("gpu", None)), ("warm_start", (1, "no")),
])  # fmt: skip
def test_wrong_parameters_are_refused_by_name(plain, name, values):
    for value in values:
        for call in (lambda value=value: plain.cls(**{name: value}), lambda value=value: plain.make().set_params(
                **{name: value})):  # fmt: skip
            with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
                call()


def test_before_a_fit_there_is_nothing_to_ask(plain):
    for call in ("recommend", "similar_items", "fold_in_users"):
        with pytest.raises(NotFittedError, match=f"this {plain.cls.__name__} is not fitted yet: call fit"):
            getattr(plain.make(), call)(0)


def test_validation_by_ids_needs_interactions_by_ids():
    rows = matrix(UTILITY > 0)
    model = LogisticMF(factors=2, epochs=1)
    with pytest.raises(TypeError, match="as interactions are one, got Interactions: pass"):
        model.fit(rows, validation=Interactions.from_arrays([0], [0]))
