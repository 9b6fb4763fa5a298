"""Features of users and items in alternating least squares: against dense formulas, for new rows, in files."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import ExplicitALS, Features, ImplicitALS, Interactions
from alternant.evaluation import evaluate, hold_out_items
from alternant.models.priors import prior as prior_module
from alternant.models.priors import products as products_module
from alternant.models.priors.products import pairs_of

BACKENDS = ["cython", "numba", "numpy"]


def data(seed=0, ratings=False):
    """Users and items whose factors follow from their features up to noise; the last of each have no interactions."""
    rng = np.random.default_rng(seed)
    F, H = rng.integers(0, 2, (60, 4)).astype(float), rng.integers(0, 2, (40, 5)).astype(float)
    X = F @ rng.standard_normal((4, 3)) + 0.3 * rng.standard_normal((60, 3))
    Y = H @ rng.standard_normal((5, 3)) + 0.3 * rng.standard_normal((40, 3))
    utility = X @ Y.T
    known = utility + rng.standard_normal(utility.shape) > 1
    known[57:], known[:, 38:] = False, False
    values = np.clip(np.round(3 + utility), 1, 5) if ratings else 1 + np.floor(np.abs(utility))
    return sp.csr_array(np.where(known, values, 0.0)), F, H


def fitted(cls, **params):
    R, F, H = data(ratings=cls is ExplicitALS)
    options = {"factors": 3, "iterations": 6, "random_state": 0, "dtype": "float64", "solver": "cholesky"}
    return cls(**{**options, **params}).fit(R, user_features=F, item_features=H), R, F, H


def with_ones(F):
    return np.hstack([F, np.ones((len(F), 1))])


def dense_regression(F, w, x, strength):
    """The ridge regression of factors on features, its penalty, and the term of the objective."""
    E = with_ones(F)
    ridge = np.full(E.shape[1], strength * (w @ F**2).mean())
    ridge[-1] = 0
    A = np.linalg.solve(E.T @ (w[:, None] * E) + np.diag(ridge), E.T @ (w[:, None] * x))
    return A, (w[:, None] * (x - E @ A) ** 2).sum() + (ridge[:, None] * A**2).sum()


def implicit_objective(model, R, F, H):
    """The objective of the docstring, summed over all pairs, and the parts of a user's problem."""
    n_u, n_i = (np.asarray((R > 0).sum(axis=axis)).astype(float) for axis in (1, 0))
    known, degrees = (n_u > 0, n_i > 0), model._degrees
    d = degrees.constants[0] * np.maximum(n_u, 1) ** -degrees.exponents[0]
    e = degrees.constants[1] * np.maximum(n_i, 1) ** -degrees.exponents[1]
    m = degrees.constants[2] * np.maximum(n_i, 1) ** (degrees.popularity - degrees.exponents[1])
    r, w0 = R.toarray(), model.unobserved_weight_
    c = np.where(r > 0, 1 + model.alpha_ * np.log1p(r / model.epsilon_) + w0, w0)
    p = np.where(r > 0, (c - w0) / c, 0)
    X, Y = model.user_factors * known[0][:, None], model.item_factors / m[:, None] * known[1][:, None]
    v = np.outer(d, e) ** 2
    lam = [model.regularization_[0] * (n_u + w0 * len(n_i)), model.regularization_[1] * (n_i + w0 * len(n_u))]
    weights = [d**2 * lam[0] * known[0], e**2 * lam[1] * known[1]]
    A, of_users = dense_regression(F, weights[0], X, model.feature_regularization_[0])
    B, of_items = dense_regression(H, weights[1], Y, model.feature_regularization_[1])
    error = (v * c * (p - X @ Y.T) ** 2).sum()
    constant = (v * c * p * (1 - p)).sum()  # what the weighting "ials-log" adds for liked pairs
    return error + constant + of_users + of_items, A, B, (e, w0, lam[0])


def test_the_objective_and_the_regressions_are_those_of_dense_formulas():
    model, R, F, H = fitted(ImplicitALS, acceleration=None)
    objective, A, B, _ = implicit_objective(model, R, F, H)
    np.testing.assert_allclose(model.history_["objective"][-1], objective, rtol=1e-9)
    np.testing.assert_allclose(model.user_factors[57:], with_ones(F[57:]) @ A, rtol=1e-8)
    model.popularity_exponent, degrees = None, model._degrees
    m = degrees.constants[2]  # the scale of items with one interaction or none
    np.testing.assert_allclose(model.item_factors[38:], m * with_ones(H[38:]) @ B, rtol=1e-8)
    np.testing.assert_allclose(model.fold_in_users(user_features=F), with_ones(F) @ A, rtol=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("solver", "weighting"), [("cg", "auto"), ("cholesky", "auto"), ("cholesky", "hu")])
def test_a_new_user_is_the_solution_of_a_dense_problem(backend, solver, weighting):
    model, R, F, H = fitted(ImplicitALS, weighting=weighting)
    model.set_params(backend=backend, solver=solver)
    _, A, _, (e, w0, lam) = implicit_objective(model, R, F, H)
    degrees = model._degrees
    n_i = np.asarray((R > 0).sum(axis=0)).astype(float)
    m = degrees.constants[2] * np.maximum(n_i, 1) ** (degrees.popularity - degrees.exponents[1])
    Y = model.item_factors * (e / m * (n_i > 0))[:, None]
    folded = model.fold_in_users(R[:5], user_features=F[5:10])
    n_u = np.diff(R.indptr)
    typical = (n_u**2).sum() / n_u.sum()
    assert n_u[:5].min() < typical < n_u[:5].max()
    for u in range(5):
        r = R[[u]].toarray().ravel()
        unobserved = w0 * min(1, n_u[u] / typical)
        if weighting == "hu":
            c = np.where(r > 0, 1 + model.alpha_ * r, 0)
            w = np.where(r > 0, c - unobserved, 0)
        else:
            c = w = np.where(r > 0, 1 + model.alpha_ * np.log1p(r / model.epsilon_), 0)
        matrix = unobserved * Y.T @ Y + (Y.T * w) @ Y + lam[u] * np.eye(3)
        x = np.linalg.solve(matrix, Y.T @ (c * e) + lam[u] * with_ones(F[5:10])[u] @ A)
        np.testing.assert_allclose(folded[u], x, rtol=1e-5)


def test_an_interaction_does_not_take_a_new_item_below_those_that_have_none():
    rng = np.random.default_rng(0)
    F, H = rng.integers(0, 2, (400, 8)) - 0.5, rng.integers(0, 2, (200, 8)) - 0.5
    likes = F @ rng.standard_normal((8, 8)) @ H.T + rng.standard_normal((400, 200)) > 2
    known, new = likes[:, :150], likes[:, 150:]
    model = ImplicitALS(factors=8, random_state=0, tol=1e-7, max_cg_steps=50, dtype="float64")
    model.fit(sp.csr_array(known * 1.0), item_features=H[:150])
    of_features = model.fold_in_items(item_features=H[150:])
    first = np.zeros((50, 400))
    first[np.arange(25), new.argmax(axis=0)[:25]] = 1  # of half of the items
    folded = model.fold_in_items(sp.csr_array(first), item_features=H[150:])
    np.testing.assert_allclose(folded[25:], of_features[25:], rtol=1e-5)
    unseen, aucs = first.T == 0, []
    for Y in (of_features, folded):
        scores = model.user_factors @ Y.T
        pairs = [(scores[u, new[u] & unseen[u]], scores[u, ~new[u]]) for u in range(400)]
        aucs.append(np.mean([(good[:, None] > bad).mean() for good, bad in pairs if len(good) and len(bad)]))
    assert aucs[1] > aucs[0] - 0.01
    events = sp.csr_array(np.hstack([np.zeros((400, 150)), first.T]))
    later = copy.copy(model).partial_fit(events, item_features=H[150:])
    np.testing.assert_allclose(later.item_factors[150:], folded, rtol=1e-4, atol=1e-6)
    known_by_features = model.partial_fit_items(np.arange(150, 200), item_features=H[150:]).partial_fit(events)
    np.testing.assert_allclose(known_by_features.item_factors[150:], folded, rtol=1e-4, atol=1e-6)


def test_a_new_item_is_one_of_the_fit_when_it_has_as_many_interactions():
    model, R, _, H = fitted(ImplicitALS)
    typical = (R.tocsc().indptr[1:] - R.tocsc().indptr[:-1]).astype(float)
    typical = (typical**2).sum() / typical.sum()
    n = np.array([0, 1, int(typical / 4), 60])
    chances = model._degrees.chances
    np.testing.assert_allclose(chances("item", None, n), [1, 1 / typical, n[2] / typical, 1])
    model.partial_fit((np.arange(3), np.full(3, 40)), item_features=H[:1])
    chances, rows = model._degrees.chances, np.array([39, 40])
    np.testing.assert_allclose(chances("item", rows, np.array([3, 3]), nightly=True), [1, (3 / typical) ** 0.5])
    before = copy.deepcopy(model)
    model.partial_fit((np.arange(3, 60), np.full(57, 40)))
    expected = before.fold_in_items(np.ones((1, 60)), item_features=H[:1])[0]
    np.testing.assert_allclose(model.item_factors[40], expected, rtol=1e-7)


def test_new_users_are_explained_after_many_nights_and_from_a_file(tmp_path):
    model, R, F, H = fitted(ImplicitALS)
    users, items = np.array([60, 61, 61, 61]), np.array([5, 2, 5, 7])
    model.partial_fit((users, items), user_features=F[:2])
    rows = sp.csr_array((np.ones(4), (users - 60, items)), shape=(2, 40))
    np.testing.assert_allclose(model.user_factors[60:], model.fold_in_users(rows, user_features=F[:2]), rtol=1e-7)
    grown = np.bincount(R.indices, minlength=40).argmax()
    others = np.flatnonzero(R[:, [grown]].toarray()[:, 0] == 0)[:2]
    model.partial_fit((others, [grown, grown]))  # changes the degrees, but no item
    model.save(tmp_path / "model.safetensors")
    loaded = ImplicitALS.load(tmp_path / "model.safetensors")
    for one in (model, loaded):
        for user in (60, 61):
            told = one.explain(user, 5)
            assert abs(told.remainder) < 1e-9 * abs(told.contributions).sum()
        one.partial_fit(([0, 60], [7, 7]))
        one.partial_fit(([1, 0], [40, 40]), item_features=H[:1])
        one.partial_fit(([2], [40]))
    np.testing.assert_array_equal(loaded.item_factors, model.item_factors)


@pytest.mark.parametrize("biases", [True, False])
def test_the_objective_of_ratings_is_that_of_dense_formulas(biases):
    model, R, F, H = fitted(ExplicitALS, biases=biases, feature_regularization=(0.5, 0.25))
    counts = [np.diff(R.indptr), np.bincount(R.indices, minlength=40)]
    objective = ((R.toarray() - model.mean_ - model.user_factors @ model.item_factors.T) ** 2)[R.toarray() > 0].sum()
    columns = [[0, 1, 2, 3], [0, 1, 2, 4]] if biases else [[0, 1, 2]] * 2
    sides = (F, counts[0], model.user_factors, 0.5, columns[0]), (H, counts[1], model.item_factors, 0.25, columns[1])
    for features, count, factors, strength, own in sides:
        A, term = dense_regression(features, model.regularization * count, factors[:, own] * 1.0, strength)
        objective += term
        unrated = count == 0
        np.testing.assert_allclose(factors[unrated][:, own], with_ones(features[unrated]) @ A, rtol=1e-7)
    np.testing.assert_allclose(model.history_["objective"][-1], objective, rtol=1e-9)
    if biases:
        u = model.fold_in_users(R[:1], user_features=F[:1])[0]
        items = R.indices[: R.indptr[1]]
        design = np.hstack([model.item_factors[items, :3], np.ones((len(items), 1))])
        lam = model.regularization * len(items)
        A, _ = dense_regression(F, model.regularization * counts[0], model.user_factors[:, columns[0]], 0.5)
        target = R.data[: R.indptr[1]] - model.mean_ - model.item_factors[items, 4]
        x = np.linalg.solve(design.T @ design + lam * np.eye(4), design.T @ target + lam * with_ones(F[:1])[0] @ A)
        np.testing.assert_allclose(u[:4], x, rtol=1e-7)


@pytest.mark.parametrize("model", [
    ImplicitALS(factors=3, solver="cholesky"), ImplicitALS(factors=3, solver="cg", tol=0.1),
    ImplicitALS(factors=3, degree_normalization=0, acceleration=None), ExplicitALS(factors=3),
    ExplicitALS(factors=3, biases=False, solver="cg"),
], ids=["cholesky", "cg", "plain", "ratings", "ratings by cg"])  # fmt: skip
@pytest.mark.parametrize("most_dense", [2048, 0])
def test_the_objective_never_rises(model, most_dense, monkeypatch):
    monkeypatch.setattr(prior_module, "MOST_DENSE", most_dense)  # 0: regressions by conjugate gradients
    R, F, H = data(ratings=isinstance(model, ExplicitALS))
    model.set_params(iterations=20, random_state=0, dtype="float64").fit(R, user_features=F, item_features=H)
    assert np.isfinite(model.feature_regularization_).all()
    objectives = np.array(model.history_["objective"])
    assert (np.diff(objectives) <= 1e-9 * objectives[0]).all()


def test_many_features_are_regressed_as_well_as_few(monkeypatch):
    few = fitted(ImplicitALS, feature_regularization=1.0)[0]
    monkeypatch.setattr(prior_module, "MOST_DENSE", 0)
    many = fitted(ImplicitALS, feature_regularization=1.0)[0]
    np.testing.assert_allclose(many.user_factors, few.user_factors, rtol=0, atol=1e-3 * np.abs(few.user_factors).max())


def test_features_that_predict_nothing_are_left_out_and_change_no_bit():
    R, F, _ = data()
    noise = np.random.default_rng(1).standard_normal((40, 5))
    options = {"factors": 3, "random_state": 0}
    plain, left_out = ImplicitALS(**options).fit(R), ImplicitALS(**options).fit(R, item_features=noise)
    assert left_out.feature_regularization_ == (None, np.inf)
    for side in ("user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(plain, side), getattr(left_out, side))
    np.testing.assert_array_equal(plain.fold_in_users(R), left_out.fold_in_users(R))
    assert ImplicitALS(**options).fit(R, user_features=F).feature_regularization_[0] < np.inf


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_backends_and_threads_agree(cls):
    models = [fitted(cls, backend=backend)[0] for backend in BACKENDS]
    for other in models[1:]:
        np.testing.assert_allclose(other.user_factors, models[0].user_factors, rtol=1e-6, atol=1e-9)
    one, two = (fitted(cls, num_threads=threads, dtype="float32")[0] for threads in (1, 2))
    np.testing.assert_array_equal(one.item_factors, two.item_factors)


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_files_keep_what_was_learned(cls, tmp_path):
    model, R, F, _ = fitted(cls)
    model.save(tmp_path / "model.safetensors")
    loaded = cls.load(tmp_path / "model.safetensors")
    assert loaded.feature_regularization_ == model.feature_regularization_
    for one in (model, loaded):
        one.partial_fit_items(0, R.T[[3]])  # keeps its features
    np.testing.assert_array_equal(loaded.item_factors, model.item_factors)
    folded = [one.fold_in_users(R[:3], user_features=F[:3]) for one in (model, loaded)]
    np.testing.assert_array_equal(*folded)
    plain = cls(factors=3).fit(R)
    plain.save(tmp_path / "plain.safetensors")
    assert b'"alternant":"2"' in (tmp_path / "plain.safetensors").read_bytes()[:4000]


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
@pytest.mark.parametrize("stopped", [{"callback": lambda _: True}, {"early_stopping": 0.9}])
def test_a_fit_that_ends_early_has_learned_from_features(cls, stopped):
    R, F, H = data(ratings=cls is ExplicitALS)
    params = {name: value for name, value in stopped.items() if name == "early_stopping"}
    model = cls(factors=3, random_state=0, iterations=20, **params)
    model.fit(R, user_features=F, item_features=H, **{name: stopped[name] for name in stopped if name not in params})
    assert model.n_iter_ <= 2
    assert max(model.feature_regularization_) < np.inf
    assert model.fold_in_items(item_features=H[:1]).any()
    assert model.item_factors[38:].any(axis=1).all()  # items that nobody has


def test_known_rows_keep_their_interactions_if_only_features_are_given(tmp_path):
    model, R, F, H = fitted(ImplicitALS)
    other, named = fitted(ImplicitALS)[0], ImplicitALS(factors=3, random_state=0)
    model.partial_fit_users([0, 60], user_features=F[3:5]).partial_fit_items([2, 1], item_features=H[3:5])
    whole = sp.csr_array((R.data, R.indices, np.append(R.indptr, R.nnz)), shape=(61, 40))
    other.partial_fit_users([0, 60], whole[[0, 60]], user_features=F[3:5])
    other.partial_fit_items([2, 1], whole.T[[2, 1]], item_features=H[3:5])
    for one in ("user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(model, one), getattr(other, one))
    np.testing.assert_array_equal(model.interactions_.to_scipy().toarray(), whole.toarray())

    table = Interactions.from_arrays(*R.nonzero())
    named.fit(table, item_features=Features.from_arrays(range(40), {"x": H[:, 0], "y": H[:, 1]}))
    named.partial_fit_items([7], item_features=Features.from_arrays([7], {"x": [1.0], "y": [0.0]}))
    assert (named.interactions_.to_scipy() != table.matrix).nnz == 0

    other.save(tmp_path / "m.safetensors", interactions=False)
    bare = ImplicitALS.load(tmp_path / "m.safetensors")
    refuses(
        ValueError, "known users keep their interactions, but this model does not have them",
        lambda: bare.partial_fit_users([0], user_features=F[:1]), bare,
    )  # fmt: skip
    assert bare.partial_fit_users([61], user_features=F[:1]).user_factors.shape[0] == 62


def test_known_rows_keep_their_features_and_new_ones_may_have_some_or_none():
    model, R, F, H = fitted(ImplicitALS)
    before = model.user_factors.copy()
    with_one = model.fold_in_items(R.T[[3]], item_features=H[:1])[0]
    model.partial_fit_items(40, R.T[[3]], item_features=H[:1])
    np.testing.assert_allclose(model.item_factors[40], with_one, rtol=1e-7)
    rows = sp.csr_array((R.data, R.indices, R.indptr), shape=(60, 41))
    model.partial_fit_users([0, 1], rows[:2])  # solved again, against items that have moved since
    folded = model.fold_in_users(rows[:2], user_features=F[:2])
    model.partial_fit_users([60, 61], rows[:2], user_features=F[:2])
    np.testing.assert_allclose(model.user_factors[60:], folded, rtol=1e-7)
    model.partial_fit_users(62, user_features=F[:1])
    np.testing.assert_allclose(model.user_factors[62], model.fold_in_users(user_features=F[:1])[0])
    model.partial_fit_users(63, rows[:1])  # of whom only interactions are known
    model.partial_fit_users(62, rows[:1])
    np.testing.assert_allclose(model.user_factors[62], folded[0], rtol=1e-7)
    assert not np.allclose(model.user_factors[63], folded[0], rtol=1e-3)
    assert model.recommend(None, 3, user_features=F[:2])[0].shape == (2, 3)
    np.testing.assert_array_equal(model.user_factors[2:57], before[2:57])


def test_features_have_a_share_in_explanations():
    model, R, F, _ = fitted(ImplicitALS)
    for user, options in ((3, {}), (58, {}), (None, {"user_items": R[:1], "user_features": F[:1]})):
        told = model.explain(user, 5, **options)
        assert told.contributions.sum() + told.features == pytest.approx(told.score)
        assert told.features != 0
    alone = model.explain(None, 5, user_items=R[:1] * 0, user_features=F[:1])
    assert alone.features == pytest.approx(alone.score)


def named():
    R, _, H = data()
    u, i = R.nonzero()
    interactions = Interactions.from_arrays([f"u{n}" for n in u], i.tolist(), R.data)
    tags = [[name for name, has in zip("abcde", row, strict=True) if has] for row in H]
    order = np.random.default_rng(2).permutation(40)
    table = Features.from_arrays(order.tolist(), {
        "tags": [tags[n] for n in order], "title": [f"title {n}" for n in order],
    })  # fmt: skip
    return interactions, table, H


def test_a_table_is_matched_by_id_and_new_items_may_have_unknown_tags():
    interactions, table, H = named()
    options = {"factors": 3, "random_state": 0, "dtype": "float64"}
    by_name = ImplicitALS(**options).fit(interactions, item_features=table)
    by_row = ImplicitALS(**options).fit(interactions.matrix, item_features=H[interactions.item_ids])
    np.testing.assert_allclose(by_name.item_factors, by_row.item_factors, rtol=1e-9)
    assert by_name._item_prior.columns.names == [f"tags={name}" for name in "abcde"]
    new = Features.from_arrays([100, 101], {"tags": [["a", "new"], ["b", "c"]]})
    with pytest.warns(UserWarning, match=r"1 categories that the fit did not know .*'tags=new'"):
        folded = by_name.fold_in_items(item_features=new)
    np.testing.assert_allclose(folded, by_row.fold_in_items(item_features=[[1, 0, 0, 0, 0], [0, 1, 1, 0, 0]]))
    by_name.partial_fit_items([101], item_features=Features.from_arrays([101], {"tags": [["b", "c"]]}))
    assert 101 in by_name.recommend("u1", 40)[0]


def test_new_columns_are_read_as_what_they_were_in_the_fit():
    ids, ages, codes = list(range(6)), [1.0, 5.0, 2.0, 4.0, 3.0, 3.0], [7, 8, 7, 8, 7, 8]
    table = Features.from_arrays(ids, {"age": ages, "code": codes}, kinds={"code": "category"})
    visits = Interactions.from_arrays(ids * 2, [*ids, 1, 2, 3, 4, 5, 0])
    model = ImplicitALS(factors=2, feature_regularization=1.0, random_state=0).fit(visits, item_features=table)

    def folded(age, code):
        return model.fold_in_items(item_features=Features.from_arrays(["new"], {"age": [age], "code": [code]}))

    expected = folded(4, "8")
    assert (folded("4", 8) == expected).all()
    assert (folded(None, "8") != expected).any()
    assert np.isfinite(folded(None, None)).all()
    with pytest.warns(UserWarning, match=r"categories that the fit did not know .*'code=9'"):
        folded(4, 9)
    message = "column 'age' must hold numbers, as in the fit, got categories, such as 'two': convert it"
    refuses(ValueError, message, lambda: folded("two", "8"), model)
    refuses(ValueError, "column 'age' must hold numbers, as in the fit, got tags", lambda: folded([4, 5], "8"), model)
    refuses(ValueError, "'code' must hold categories, as in the fit, got numbers", lambda: folded(4, 2**60), model)


def test_cold_start_says_where_features_go():
    interactions, table, _ = named()
    model = ImplicitALS(factors=2, iterations=1).fit(interactions, item_features=table)
    with pytest.raises(TypeError, match=r"cold_start takes no user_features: .* call recommend\(None, user_features="):
        model.cold_start(3, user_features=table)
    with pytest.raises(ValueError, match=r"pass both or neither, or, .* call recommend\(None, user_features="):
        model.cold_start(3, new_features=[[1.0]])


def test_new_users_of_a_table_are_named_in_frames():
    pytest.importorskip("pyarrow")
    interactions, _, _ = named()
    groups = Features.from_arrays(interactions.user_ids, {"group": [int(one[1:]) % 2 for one in interactions.user_ids]})
    model = ImplicitALS(factors=3, random_state=0, feature_regularization=1.0).fit(interactions, user_features=groups)
    new = Features.from_arrays(["x", "y"], {"group": [0, 1]})
    frame = model.recommend_frame(None, 2, user_features=new, library="pyarrow")
    assert frame.column("user").to_pylist() == ["x", "x", "y", "y"]
    np.testing.assert_array_equal(model.query_vectors(user_features=new), model.fold_in_users(user_features=new))


def acting_together(seed=0):
    """Users whose factors are products of features, and items that these choose."""
    rng = np.random.default_rng(seed)
    F = np.column_stack([rng.integers(0, 2, (200, 4)), rng.standard_normal(200)])
    X = np.column_stack([F[:, 0] * F[:, 1] - F[:, 2] * F[:, 3], F[:, 4] ** 2 - 1, F[:, 0]])
    utility = X @ rng.standard_normal((3, 60)) + 0.3 * rng.standard_normal((200, 60))
    return sp.csr_array((utility > np.quantile(utility, 0.8)) * 1.0), F


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_products_of_features_are_used_if_they_predict_more(cls, tmp_path):
    R, F = acting_together()
    options = {"factors": 4, "random_state": 0, "dtype": "float64"}
    if cls is ExplicitALS:
        R = sp.csr_array(R.toarray() + 1)
        options["biases"] = False
    model = cls(**options).fit(R, user_features=F)
    pairs = [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4], [4, 4]]
    assert model._user_prior.products.tolist() == pairs  # 4 is a number, whose square is a feature, too
    products = np.column_stack([F, *(F[:, i] * F[:, j] for i, j in pairs)])
    given = cls(**options, feature_regularization=model.feature_regularization_[0]).fit(R, user_features=products)
    new = np.array([[1, 1, 0, 0, 0.5]])
    expected = given.fold_in_users(user_features=np.column_stack([new, *(new[:, i] * new[:, j] for i, j in pairs)]))
    np.testing.assert_allclose(model.fold_in_users(user_features=new), expected, rtol=1e-6, atol=1e-9)
    model.partial_fit_users([200], user_features=new)
    model.save(tmp_path / "model.safetensors")
    again = cls.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.fold_in_users(user_features=new), model.user_factors[200:])
    linear = cls(**options, feature_regularization=1.0).fit(R, user_features=F)
    assert linear._user_prior.products is None


def test_a_resumed_fit_has_its_products_of_features(tmp_path):
    R, F = acting_together()
    whole, part = (ImplicitALS(factors=4, iterations=n, random_state=0).fit(R, user_features=F) for n in (6, 3))
    part.fit(R, user_features=F, checkpoint=tmp_path)
    resumed = part.set_params(iterations=6).fit(R, user_features=F, checkpoint=tmp_path)
    assert len(resumed._user_prior.products)
    np.testing.assert_array_equal(resumed.user_factors, whole.user_factors)


def test_products_are_of_features_that_occur_together_and_not_too_many(monkeypatch):
    F = np.zeros((20, 4))
    F[:5, :2], F[5:9, 1:3], F[:, 3] = 1, 1, np.arange(20)
    counted = np.ones(20, bool)
    assert pairs_of(sp.csr_array(F), counted).tolist() == [[0, 1], [1, 3], [3, 3]]
    counted[2] = False  # then, 0 and 1 are together in four rows
    assert pairs_of(sp.csr_array(F), counted).tolist() == [[1, 3], [3, 3]]
    for limit in ("MOST_FEATURES", "MOST_PRODUCTS", "MOST_WORK"):
        with monkeypatch.context() as patch:
            patch.setattr(products_module, limit, 3)
            assert pairs_of(sp.csr_array(F), counted) is None
    assert pairs_of(sp.csr_array(np.eye(20)), np.ones(20, bool)) is None


def test_new_users_are_ranked_in_bulk_and_by_an_index_as_by_recommend(tmp_path):
    model, R, F, _ = fitted(ImplicitALS, feature_regularization=1.0)
    for known in (None, R[:5]):
        ids, scores = model.recommend(None, 3, user_features=F[5:10], user_items=known)
        blocks = [*model.recommend_all(3, user_features=F[5:10], user_items=known, block_size=2)]
        for of_recommend, of_blocks in zip((np.arange(5), ids, scores), zip(*blocks, strict=True), strict=True):
            np.testing.assert_array_equal(np.concatenate(of_blocks), of_recommend)
    pytest.importorskip("faiss", reason="searches by an index of faiss")
    index = model.to_index("faiss")
    np.testing.assert_array_equal(index.search(None, 3, user_features=F[5:10], user_items=R[:5])[0], ids)
    for call in (index.search, lambda users, **features: model.recommend_all(users=users, **features)):
        refuses(ValueError, r"user_features are those of new users \(users=None\)", lambda c=call: c(
            [0], user_features=F[:1]), model)  # fmt: skip


def test_new_users_of_a_table_are_named_in_files(tmp_path):
    visits = Interactions.from_arrays(list("aabbc"), list("xyxzy"))
    ages = Features.from_arrays(list("abc"), {"age": [20, 30, 40]})
    model = ImplicitALS(factors=2, random_state=0, feature_regularization=1.0).fit(visits, user_features=ages)
    path = tmp_path / "lists.csv"
    model.recommend_all(1, user_features=Features.from_arrays(["dot", "eve"], {"age": [25, 35]}), to=path)
    assert [line.split(",")[0] for line in path.read_text(encoding="utf-8").split()] == ["user", "dot", "eve"]


@pytest.mark.parametrize("named", [False, True])
def test_new_users_and_items_are_evaluated_by_their_features(named):
    R, F, H = data()
    model = ImplicitALS(factors=3, random_state=0)
    test, of_users = sp.csr_array(np.repeat([[1.0, 0.0]], [6, 34], axis=1).repeat(3, axis=0)), F[57:]
    if named:
        pairs, new = R.tocoo(), test.tocoo()
        R = Interactions.from_arrays(pairs.row, pairs.col, pairs.data)
        test = Interactions.from_arrays(new.row + 57, new.col, new.data)
        of_users = Features.from_arrays([59, 58, 57], dict(zip("abcd", F[[59, 58, 57]].T, strict=True)))
        F = Features.from_arrays(range(57), dict(zip("abcd", F[:57].T, strict=True)))
        H = Features.from_arrays(range(40), dict(zip("abcde", H.T, strict=True)))
    train, held_out, items = hold_out_items(R, 0.25, random_state=0)
    model.fit(train, user_features=F, item_features=H)
    of_items = evaluate(model, held_out, k=5, metrics="hit_rate", candidates=items)
    known = model.user_ids_ if named else np.arange(60)
    lists = model.recommend(known, 5, candidate_items=items)[0]
    relevant = (held_out.matrix if named else held_out).toarray()
    hits = [relevant[u, one].any() for u, one in enumerate(lists) if relevant[u].any()]
    assert of_items.means["hit_rate@5"] == np.mean(hits) > 0.5
    of_new = evaluate(model, test, k=5, metrics="hit_rate", user_features=of_users)
    lists = model.recommend(None, 5, user_features=of_users.reindex([57, 58, 59]) if named else of_users)[0]
    assert of_new.means["hit_rate@5"] == np.mean([(one < 6).any() for one in lists])
    assert of_new.users.tolist() == ([57, 58, 59] if named else [0, 1, 2])
    history = {"user_items": test, "user_features": of_users, "exclude_seen": False}
    both = evaluate(model, test, k=5, metrics="hit_rate", **history)
    hits = [(one < 6).any() for one in model.recommend(None, 5, **history)[0]]
    assert both.means["hit_rate@5"] == np.mean(hits)


def test_rows_that_a_table_lacks_are_told_and_count_as_average():
    interactions, table, _ = named()
    model = ImplicitALS(factors=3, random_state=0, feature_regularization=1.0)
    some = table.reindex([n for n in table.ids.tolist() if n not in (3, 4)])
    with pytest.warns(UserWarning, match="item_features have no row for 2 of 38 items, such as 3: they count as"):
        model.fit(interactions, item_features=some)
    empty = interactions.reindex(items=[200]).matrix.T  # of an item without features or interactions
    np.testing.assert_allclose(model.fold_in_items(empty) / model._objective().degrees.constants[2],
                               model._item_prior.mean[None], rtol=1e-6)  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"user_features": np.ones((3, 2))}, ValueError, "user_features must have one row for each of the 60 users"),
    ({"item_features": np.ones(40)}, ValueError, r"got a list of 40 numbers: pass numpy.reshape\(item_f"),
    ({"item_features": np.full((40, 2), np.nan)}, ValueError, "item_features must be finite in float32, got 80 values"),
    ({"item_features": np.full((40, 2), 1e38)}, ValueError, r"must be at most 1e\+12 in absolute value in float32"),
    ({"item_features": [["a"]] * 40}, TypeError, "item_features must be a matrix of numbers or alternant.Features"),
    ({"item_features": np.ones((40, 2)) * [1.0, 1e-30]}, ValueError, "the regression on the features has no unique"),
    ({"item_features": Features.from_arrays([1], {"x": [2.0]})}, TypeError, "item_features must be a matrix, as the"),
])  # fmt: skip
def test_features_that_do_not_fit_are_refused(change, error, message):
    model = ImplicitALS(feature_regularization=1e-40)
    refuses(error, message, lambda: model.fit(data()[0], **change), model)


def test_features_of_all_users_are_too_many_for_new_ones():
    model, _, F, _ = fitted(ImplicitALS)
    refuses(ValueError, "user_features must have one row for each of the 2 new users, got 62 rows: leave out those of",
            lambda: model.partial_fit(([60, 61], [0, 0]), user_features=np.vstack([F, F[:2]])), model)  # fmt: skip


def test_models_without_features_say_so():
    R, F, _ = data()
    model = ImplicitALS(factors=3).fit(R)
    for message, call in {
        "user_features need a model that was fitted with user_features": lambda: model.recommend(None, user_features=F),
        "new users need user_items, user_features or both, got neither": lambda: model.fold_in_users(),
        "user_features are those of new users": lambda: model.recommend(0, user_features=F),
        "feature_regularization must be greater than 0 and finite, got 0": lambda: model.set_params(
            feature_regularization=0
        ),
        "features need factors of any sign, got nonnegative=True": lambda: ExplicitALS(
            nonnegative=True, biases=False
        ).fit(R, user_features=F),
    }.items():
        refuses(ValueError, message, call, model)
