"""ImplicitALS with degree normalization, against the objective written out over all pairs of dense matrices."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS, datasets

WEIGHTINGS = ["hu", "log", "proportional", "ials"]
EXACT = {"solver": "cholesky", "dtype": "float64"}
EXACT_CG = {"solver": "cg", "tol": 1e-14, "max_cg_steps": 200, "dtype": "float64"}
# Unlike each other, so that a test sees it when one is mixed up or not used.
HYPER = {
    "alpha": 3.0, "epsilon": 0.7, "unobserved_weight": 0.4, "regularization": (0.3, 0.5),
    "regularization_exponent": 0.8, "regularization_scaling": "ials",
}  # fmt: skip
A, B, S = 0.3, 0.45, 0.2
NORMALIZED = {"degree_normalization": (A, B), "popularity_exponent": S}


def feedback(n_users=13, n_items=9, seed=0, empty=True):
    """Likes of many sizes, some dislikes; a user and an item with nothing."""
    rng = np.random.default_rng(seed)
    R = rng.poisson(0.8, (n_users, n_items)) * rng.uniform(0.2, 4, (n_users, n_items))
    R *= np.where(rng.random(R.shape) < 0.2, -1, 1)
    if empty:
        R[5] = R[:, 4] = 0
    return R


class Dense:
    """The objective over all pairs, straight from its formula, in ``X = d_u x_u`` and ``Y = e_i y_i``."""

    def __init__(self, R, weighting, a=A, b=B, s=S):
        observed, r, w0 = R != 0, np.abs(R), HYPER["unobserved_weight"]
        self.n_u, self.n_i = observed.sum(axis=1), observed.sum(axis=0)
        v = np.outer(np.maximum(self.n_u, 1.0) ** -a, np.maximum(self.n_i, 1.0) ** -b)
        self.v = v / v[observed].mean()
        m = np.maximum(self.n_i, 1.0) ** (s - b)
        self.m = m / (m * self.n_i).sum() * self.n_i.sum()
        likes = (R > 0).astype(float)
        if weighting == "ials":
            self.W, self.T = observed + w0, likes
        else:
            c = {"hu": 1 + 3 * r, "log": 1 + 3 * np.log(1 + r / 0.7), "proportional": 3 * r}[weighting]
            self.W = np.where(observed, c, w0)
            self.T = self.W * likes
        self.lambda_u = 0.3 * (self.n_u + w0 * R.shape[1]) ** 0.8
        self.lambda_i = 0.5 * (self.n_i + w0 * R.shape[0]) ** 0.8

    def users(self, Y):
        return self.solve(self.W, self.T * self.v, Y, self.lambda_u)

    def items(self, X):
        return self.solve(self.W.T, (self.T * self.v).T, X, self.lambda_i)

    @staticmethod
    def solve(W, T, Y, lambdas):
        return np.array([
            np.linalg.solve(Y.T @ (w[:, None] * Y) + own * np.eye(Y.shape[1]), Y.T @ t)
            for w, t, own in zip(W, T, lambdas, strict=True)
        ])  # fmt: skip

    def objective(self, X, Y):
        s = X @ Y.T
        errors = (self.W * s**2 - 2 * self.T * self.v * s + self.T * self.v**2).sum()
        return errors + (self.lambda_u[:, None] * X**2).sum() + (self.lambda_i[:, None] * Y**2).sum()

    def scores(self, X, Y):
        """Preferences, times a power of the popularity: what the model predicts and ranks by."""
        return X @ Y.T / self.v * self.m


def fitted(R, weighting, **params):
    options = {"factors": 4, "iterations": 3, "random_state": 0} | HYPER | NORMALIZED | EXACT | params
    return ImplicitALS(weighting=weighting, **options).fit(sp.csr_array(R))


def inner_items(model, dense):
    return model.item_factors / dense.m[:, None] * model._degrees.item_weights[:, None]


def inner_users(model):
    known = model._degrees.users > 0  # others are no solutions
    return model.user_factors * (known * model._degrees.user_weights)[:, None]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_pairs_are_weighted_by_powers_of_their_degrees_with_mean_1(weighting):
    R = feedback()
    model, dense = fitted(R, weighting), Dense(R, weighting)
    v = np.outer(model._degrees.user_weights, model._degrees.item_weights)
    known = dense.n_u > 0
    np.testing.assert_allclose(v[known], dense.v[known], rtol=1e-12)
    assert v[R != 0].mean() == pytest.approx(1)
    assert model.degree_normalization_ == (A, B)
    assert model.popularity_exponent_ == S


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("solver", [EXACT, EXACT_CG], ids=["cholesky", "cg"])
def test_an_iteration_solves_the_objective_over_all_pairs_and_reports_it(weighting, solver):
    R = feedback()
    dense, before = Dense(R, weighting), fitted(R, weighting, acceleration=None, **solver)
    after = copy.deepcopy(before).set_params(warm_start=True, iterations=1).fit(sp.csr_array(R))
    X = dense.users(inner_items(before, dense))
    Y = dense.items(X)
    known = dense.n_u > 0
    np.testing.assert_allclose(inner_users(after)[known], X[known], atol=1e-8)
    np.testing.assert_allclose(inner_items(after, dense), Y, atol=1e-8)
    np.testing.assert_allclose((after.user_factors @ after.item_factors.T)[known], dense.scores(X, Y)[known], atol=1e-7)
    assert after.history_["objective"] == [pytest.approx(dense.objective(X, Y), rel=1e-9)]
    middle = dense.objective(X, inner_items(before, dense))
    assert after.history_["user_sweep_objective"] == [pytest.approx(middle, rel=1e-9)]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_new_rows_are_solved_as_in_the_fit(weighting):
    R, new = feedback(), feedback(4, 9, seed=7, empty=False)
    model, dense = fitted(R, weighting), Dense(R, weighting)
    Y, X = inner_items(model, dense), inner_users(model)
    ours = Dense(np.vstack([R, new]), weighting)  # its rows have degrees of their own; all else is the fit's
    v_new = (ours.v[-4:] / ours.v[0]) * dense.v[0]
    users = Dense.solve(ours.W[-4:], ours.T[-4:] * v_new, Y, 0.3 * (ours.n_u[-4:] + 0.4 * 9) ** 0.8)
    np.testing.assert_allclose(
        model.fold_in_users(sp.csr_array(new)) @ model.item_factors.T, users @ Y.T / v_new * dense.m, atol=1e-8
    )
    new = feedback(13, 3, seed=8, empty=False)
    ours = Dense(np.hstack([R, new]), weighting)
    v_new = (ours.v[:, -3:] / ours.v[:, :1]) * dense.v[:, :1]
    items = Dense.solve(ours.W[:, -3:].T, (ours.T[:, -3:] * v_new).T, X, 0.5 * (ours.n_i[-3:] + 0.4 * 13) ** 0.8)
    m_new = (np.maximum(ours.n_i[-3:], 1) / np.maximum(dense.n_i[0], 1)) ** (S - B) * dense.m[0]
    known = dense.n_u > 0
    np.testing.assert_allclose(
        (model.user_factors @ model.fold_in_items(sp.csr_array(new.T)).T)[known], (X @ items.T / v_new * m_new)[known],
        atol=1e-8,
    )  # fmt: skip


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_explanations_add_up_to_the_prediction_which_recommend_ranks_by(weighting):
    R = feedback()
    model = fitted(R, weighting, iterations=1, **EXACT_CG)
    model.partial_fit_users(np.arange(13), sp.csr_array(R))  # the users solved last
    for user in (0, 3):
        ids, scores = model.recommend(user, k=3)
        np.testing.assert_allclose(model.predict(user, ids), scores, rtol=1e-12)
        for item, score in zip(ids, scores, strict=True):
            explained = model.explain(user, item)
            assert explained.score == pytest.approx(score)
            assert explained.contributions.sum() == pytest.approx(score)
            assert abs(explained.remainder) < 1e-8 * max(1, np.abs(explained.contributions).sum())


def test_replaced_and_appended_rows_keep_their_own_degrees(tmp_path):
    R = feedback()
    model = fitted(R, "hu")
    new = np.ones((2, 9))
    model.partial_fit_users([3, 13], sp.csr_array(new))
    np.testing.assert_array_equal(model._degrees.users[[3, 13]], [9, 9])
    items = model.fold_in_items(sp.csr_array(np.eye(14)[3:4]))
    model.partial_fit_items([9], sp.csr_array(np.eye(14)[3:4]))
    np.testing.assert_allclose(model.item_factors[9], items[0], rtol=1e-12)
    assert model._degrees.items[9] == 1
    # Files, pickles and copies know them too, without the interactions.
    model.save(tmp_path / "m", interactions=False)
    expected = model.fold_in_users(sp.csr_array(R[:2] @ np.eye(9, 10)))
    for other in (ImplicitALS.load(tmp_path / "m"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.fold_in_users(sp.csr_array(R[:2] @ np.eye(9, 10))), expected)
        assert other.popularity_exponent_ == S
        assert other.degree_normalization_ == (A, B)


def test_popularity_exponent_only_scales_the_items_of_a_fit():
    R = datasets.load_msweb().interactions[:2000]
    models = [
        ImplicitALS(factors=8, random_state=0, iterations=2, degree_normalization=0.3, popularity_exponent=s).fit(R)
        for s in (None, 0.3, 0.0)
    ]
    np.testing.assert_array_equal(models[0].item_factors, models[1].item_factors)  # None: that of the items
    np.testing.assert_allclose(models[0].user_factors, models[2].user_factors, rtol=1e-3, atol=1e-5)
    n_i = np.maximum(np.bincount(R.indices, minlength=R.shape[1]), 1)
    lengths = [np.linalg.norm(model.item_factors, axis=1) for model in (models[0], models[2])]
    known = lengths[0] > 0
    ratio = (lengths[1] * n_i**0.3)[known] / lengths[0][known]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)
    # A list moves towards popular items; what is alike does not.
    for ask in ("similar_items", "similar_users"):
        cosines = [getattr(model, ask)([1, 2], k=5)[1] for model in (models[0], models[2])]
        np.testing.assert_allclose(*cosines, rtol=1e-3)
    popular = [n_i[model.recommend(np.arange(500), k=5)[0]].mean() for model in (models[0], models[2])]
    assert popular[0] > popular[1]


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("acceleration", [None, "nesterov"])
def test_the_objective_never_rises_and_threads_change_no_bit(solver, acceleration, monkeypatch):
    monkeypatch.setattr("alternant.models.als.half_sweep.WORK_PER_THREAD", 1)
    R = datasets.load_msweb().interactions[:3000]
    models = [
        ImplicitALS(
            factors=12, solver=solver, acceleration=acceleration, random_state=0, num_threads=threads, iterations=6,
            weighting="ials", **NORMALIZED,
        ).fit(R)
        for threads in (1, 2, 8)
    ]  # fmt: skip
    objective = np.array(models[0].history_["objective"])
    assert (np.diff(objective) <= 1e-6 * objective[1:]).all()
    for other in models[1:]:
        for name in ("user_factors", "item_factors"):
            assert getattr(other, name).tobytes() == getattr(models[0], name).tobytes()


def test_users_without_interactions_get_the_mean_user_s_list_and_change_nothing_else():
    R = sp.csr_array(np.vstack([feedback(empty=False), np.zeros((3, 9))]))
    params = EXACT | HYPER | {"regularization_scaling": "none", "degree_normalization": 0.2, "weighting": "hu"}
    with_nobody, without = (ImplicitALS(factors=3, random_state=0, **params).fit(rows) for rows in (R, R[:13]))
    mean = with_nobody.user_factors[:13].mean(axis=0)
    np.testing.assert_allclose(with_nobody.user_factors[13:], np.tile(mean, (3, 1)))
    np.testing.assert_array_equal(with_nobody.recommend(14, k=4)[0], with_nobody.cold_start(4, method="mean")[0])
    np.testing.assert_allclose(with_nobody.fold_in_users(R[13:14])[0], mean)
    np.testing.assert_allclose(with_nobody.item_factors, without.item_factors, rtol=1e-9)
    assert with_nobody.history_["objective"] == pytest.approx(without.history_["objective"])
    new_item = sp.csr_array(np.eye(1, 16))
    np.testing.assert_allclose(with_nobody.fold_in_items(new_item), without.fold_in_items(new_item[:, :13]), rtol=1e-9)
    again = copy.deepcopy(with_nobody).set_params(warm_start=True, iterations=1).fit(R)
    assert again.history_["objective"][0] <= with_nobody.history_["objective"][-1] * (1 + 1e-9)


@pytest.mark.parametrize("params", [{"degree_normalization": 1e3}, {"popularity_exponent": 1e3},
                                    {"degree_normalization": (0, 60), "dtype": "float32"},
                                    {"popularity_exponent": -1e3, "weighting": "hu"}])  # fmt: skip
def test_powers_that_overflow_are_refused_before_anything_changes(params):
    model = ImplicitALS(factors=2, random_state=0).fit(sp.csr_array(np.ones((3, 4))))
    before = model.item_factors
    model.set_params(**params)
    R = sp.csr_array(np.tri(40, 30, 5))
    with pytest.raises(ValueError, match="powers of the numbers of interactions must be positive and finite in float"):
        model.fit(R)
    assert model.item_factors is before


@pytest.mark.parametrize(("params", "message"), [
    ({"degree_normalization": -0.1}, "degree_normalization must be at least 0 and finite, got -0.1"),
    ({"degree_normalization": (0.1, 0.2, 0.3)}, r"degree_normalization must be one number or a pair \(users, items\)"),
    ({"popularity_exponent": np.nan}, "popularity_exponent must be finite, got nan"),
    ({"unobserved_weight": "automatic"}, "unobserved_weight must be a number or 'auto', got 'automatic'"),
    ({"degree_normalization": "high"}, "must be a number, a pair of numbers or 'auto', got 'high'"),
])  # fmt: skip
def test_invalid_exponents_are_refused(params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ImplicitALS(**params)


def test_the_mean_user_of_no_users_is_zero():
    model = ImplicitALS(factors=3, random_state=0).fit(sp.csr_array((5, 4)))
    np.testing.assert_array_equal(model.fold_in_users(sp.csr_array((1, 4))), np.zeros((1, 3)))
    assert model.cold_start(k=2)[0].tolist() == [0, 1]
    model = ImplicitALS(factors=3, random_state=0).fit(sp.csr_array(np.eye(2, 4)))
    model.partial_fit_users([0, 1], sp.csr_array((2, 4)))
    assert np.isfinite(model.user_factors).all()


def test_auto_values_are_refused_after_a_change_of_weighting():
    model = ImplicitALS(factors=3, random_state=0).fit(sp.csr_array(feedback()))
    model.set_params(weighting="hu")
    with pytest.raises(ValueError, match="for weighting='ials-log', but weighting is now 'hu': call fit again"):
        model.fold_in_users(sp.csr_array(feedback(2, empty=False)))


def test_factors_set_by_hand_are_saved_without_inconsistent_degrees(tmp_path):
    model = fitted(feedback(), "hu")
    model.item_factors = np.concatenate([model.item_factors, model.item_factors])
    with pytest.raises(ValueError, match="save with interactions=False"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    model.save(tmp_path / "m", interactions=False)
    assert ImplicitALS.load(tmp_path / "m").item_factors.shape == (18, 4)
