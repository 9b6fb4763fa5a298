"""What BiasedMF, CosineMF and LogisticMF share: epochs on a grid, history, validation, callbacks, lists, fold-in."""

import copy
import pickle
from itertools import count

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BiasedMF, CosineMF, LogisticMF
from alternant.kernels import Factors
from alternant.models import NotFittedError
from alternant.models.sgd import trainer as _sgd

M, N = 40, 30
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5
USERS, ITEMS = np.nonzero(KNOWN)


def matrix(values):
    return sp.csr_array((np.asarray(values, float)[KNOWN], (USERS, ITEMS)), shape=(M, N))


RATINGS = matrix(np.clip(np.round(3 + UTILITY), 1, 5))
SWIPES = matrix(UTILITY > 0)  # dislikes are stored zeros
COUNTS = matrix(np.where(UTILITY > 0, 1 + np.floor(UTILITY), -1))  # a few dislikes
CASES = {
    "BiasedMF": (BiasedMF, RATINGS, {"learning_rate": 0.03}),
    "BiasedMF in a range": (BiasedMF, RATINGS, {"rating_range": (0.5, 5.5), "learning_rate": 0.05}),
    "CosineMF": (CosineMF, SWIPES, {}),
    "CosineMF, users only": (CosineMF, SWIPES, {"update_items": False}),
    "LogisticMF": (LogisticMF, COUNTS, {}),
    "LogisticMF, all negatives": (LogisticMF, COUNTS, {"negatives": "full", "optimizer": "sgd", "learning_rate": 0.01}),
    "LogisticMF, no negatives": (LogisticMF, COUNTS, {"negatives": 0, "weighting": "proportional", "alpha": 0.5}),
}


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
    """One case a model, where more would show the same."""
    return Case(request.param)


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes()


def dense(model, users=None, items=None):
    """All predictions, by dense algebra in float64."""
    X, Y = (np.array(side, np.float64) for side in (model.user_factors, model.item_factors))
    if isinstance(model, CosineMF):
        X, Y = (side / np.linalg.norm(side, axis=1)[:, None] for side in (X, Y))
    z = X @ Y.T
    if isinstance(model, LogisticMF):
        return 1 / (1 + np.exp(-z))
    if isinstance(model, BiasedMF):
        return np.clip(model.mean_ + model.deviation_ * z, *(model.rating_range or (-np.inf, np.inf)))
    return z


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_one_two_and_eight_threads_give_the_same_bits(case, dtype, monkeypatch):
    monkeypatch.setattr(_sgd, "WORK_PER_THREAD", 1)
    used, epoch = [], case.cls._epoch
    monkeypatch.setattr(case.cls, "_epoch", lambda self, inputs: used.append(inputs.num_threads) or epoch(self, inputs))
    one, two, eight = (case.fit(num_threads=threads, dtype=dtype) for threads in (1, 2, 8))
    assert set(used) == {1, 2, 8}
    assert one.user_factors.dtype == dtype
    assert bits(one) == bits(two) == bits(eight)
    assert one.history_["objective"] == two.history_["objective"] == eight.history_["objective"]
    folded = [model.fold_in_users(case.rows).tobytes() for model in (one, two, eight)]
    assert folded[0] == folded[1] == folded[2]


@pytest.mark.against_numpy
def test_all_implementations_agree(kernels, case, dtype, monkeypatch):
    """Within 1e-9 in float64 and 1e-4 in float32, of factors near 1, after 3 epochs."""
    expected = case.fit(backend="numpy", dtype=dtype)
    monkeypatch.setattr(case.cls, "_backend", lambda self: kernels)
    got = case.fit(dtype=dtype)
    tolerance = {np.float64: 1e-9, np.float32: 1e-4}[dtype]
    for name in ("user_factors", "item_factors"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got.history_["objective"], expected.history_["objective"], rtol=tolerance)
    np.testing.assert_allclose(got.fold_in_users(case.rows[:3]), expected.fold_in_users(case.rows[:3]),
                               rtol=tolerance, atol=tolerance)  # fmt: skip


def plain_epoch(model, grid, order, values, factors, state):
    """One epoch, entry by entry, from the gradients as the papers write them; returns the loss."""
    X, Y, b, c = factors
    squares = [np.full_like(part, 1.0) for part in factors]
    rate, loss = model.learning_rate, 0.0

    def descend(u, i, gradients):
        for k, (part, row) in enumerate(((X, u), (Y, i), (b, u), (c, i))):
            gradient = gradients[k]
            if getattr(model, "optimizer", "sgd") == "adagrad":
                squares[k][row] += np.square(gradient)
                gradient = gradient / np.sqrt(squares[k][row])
            part[row] -= rate * gradient

    def logistic(u, i, weight, target):
        z = b[u] + c[i] + X[u] @ Y[i]
        g = weight * (1 / (1 + np.exp(-z)) - target)
        (lam, _), bias = state["regularization_"], model.bias_regularization
        descend(u, i, (g * Y[i] + lam * X[u], g * X[u] + lam * Y[i], g + bias * b[u], g + bias * c[i]))
        return weight * (np.log(1 + np.exp(z)) - target * z)

    for d in order:
        for a in range(grid.blocks):
            block = a * grid.blocks + (a + d) % grid.blocks
            for j in range(grid.block_indptr[block], grid.block_indptr[block + 1]):
                u, i, r = grid.rows[j], grid.columns[j], values[j]
                if isinstance(model, LogisticMF):
                    size = np.log(1 + abs(r) / model.epsilon) if model.weighting == "log" else abs(r)
                    loss += logistic(u, i, model.alpha * size, float(r > 0))
                elif isinstance(model, CosineMF):
                    x, y = X[u].copy(), Y[i].copy()
                    lengths = np.linalg.norm(x), np.linalg.norm(y)
                    cos = x @ y / lengths[0] / lengths[1]
                    X[u] -= rate * 2 * (cos - r) * (y / lengths[0] / lengths[1] - cos * x / lengths[0] ** 2)
                    if model.update_items:
                        Y[i] -= rate * 2 * (cos - r) * (x / lengths[0] / lengths[1] - cos * y / lengths[1] ** 2)
                    loss += (cos - r) ** 2
                else:
                    scale = state["deviation_"]  # the steps are those of ratings with a deviation of 1
                    p = state["mean_"] + scale * (b[u] + c[i] + X[u] @ Y[i])  # the range is not for the steps
                    g, lam, bias = (p - r) / scale, model.regularization, model.bias_regularization
                    descend(u, i, (g * Y[i] + lam * X[u], g * X[u] + lam * Y[i], g + bias * b[u], g + bias * c[i]))
                    loss += (r - p) ** 2
            if isinstance(model, LogisticMF) and model.negatives == "full":
                for u in range(grid.row_edges[a], grid.row_edges[a + 1]):
                    first = (a + d) % grid.blocks
                    for i in range(grid.column_edges[first], grid.column_edges[first + 1]):
                        loss += logistic(u, i, 1.0, 0.0)
    return loss


@pytest.mark.parametrize("name", [name for name in CASES if name != "LogisticMF"])  # its sample: tests/kernels
def test_an_epoch_of_a_fit_is_a_plain_loop_over_the_grid(name):
    case = Case(name)
    model = case.make(epochs=1, dtype="float64")
    rows = model._check_rows("interactions", case.rows, np.dtype(float))
    training_state = _sgd.TrainingState(model, rows, None, np.random.default_rng(0))  # for its start and its grid
    blocks, back = training_state.blocks, training_state.moving.places
    grid = blocks.grid
    values = rows.to_scipy().toarray()[blocks.row_order[grid.rows], blocks.column_order[grid.columns]]
    assert grid.blocks == 3
    factors = Factors(*(part.copy() for part in training_state.factors))
    order = np.random.default_rng([training_state.seed, 1]).permutation(grid.blocks)
    loss = plain_epoch(model, grid, order, values, factors, training_state.state)
    X, Y, b, c = factors[0][back[0]], factors[1][back[1]], factors[2][back[0]], factors[3][back[1]]
    if not isinstance(model, CosineMF):
        X = np.column_stack([X, b, np.ones(M)])
        Y = np.column_stack([Y, np.ones(N), c])
    model.fit(case.rows)
    np.testing.assert_allclose(model.user_factors, X, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.item_factors, Y, rtol=1e-10, atol=1e-12)
    rmse = {"train_log_loss": loss / len(values), "train_rmse": np.sqrt(loss / len(values))}
    key = next(key for key in model.history_ if key.startswith("train_"))
    assert model.history_[key] == pytest.approx([rmse[key]], rel=1e-10)
    if isinstance(model, CosineMF):
        assert model.history_["objective"] == pytest.approx([loss], rel=1e-10)


def test_a_fit_repeats_with_its_seed_and_not_with_another(case):
    model = case.fit()
    first = bits(model)
    assert bits(model.fit(case.rows)) == first == bits(case.fit())
    assert bits(case.fit(random_state=1)) != first
    assert bits(case.fit(random_state=np.random.default_rng(0))) == first


def test_the_history_has_one_entry_an_epoch_and_the_loss_falls(case):
    model = case.fit(epochs=12, learning_rate_decay=0.9)
    loss = "log_loss" if case.cls is LogisticMF else "rmse"
    assert list(model.history_) == ["objective", f"train_{loss}", "learning_rate", "seconds"]
    assert model.n_iter_ == 12
    assert {len(values) for values in model.history_.values()} == {12}
    assert model.history_[f"train_{loss}"][-1] < 0.95 * model.history_[f"train_{loss}"][0]
    np.testing.assert_allclose(model.history_["learning_rate"], model.learning_rate * 0.9 ** np.arange(12))
    assert model.history_["seconds"] == sorted(model.history_["seconds"])
    assert model.backend_ == model._backend().name


# --- parameters, copies, files ----------------------------------------------------------------------------------------


def test_parameters_are_read_set_copied_and_shown_as_scikit_learn_does(case):
    model = case.make()
    assert case.cls(**model.get_params()).get_params() == model.get_params()
    assert model.set_params(epochs=7, factors=2) is model
    assert (model.epochs, model.factors) == (7, 2)
    assert repr(model).startswith(f"{case.cls.__name__}(factors=2")
    assert repr(case.cls()) == f"{case.cls.__name__}()"
    assert repr(eval(repr(model), {case.cls.__name__: case.cls})) == repr(model)
    before = model.get_params()
    for wrong in ({"epochs": 0, "factors": 3}, {"depth": 3}, {"learning_rate": 0}, {"dtype": "float16"}):
        with pytest.raises(ValueError):
            model.set_params(**wrong)
        assert model.get_params() == before


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_the_same_bits_and_its_own_life(plain, duplicate):
    model = plain.fit()
    other = duplicate(model)
    assert bits(other) == bits(model)
    assert repr(other) == repr(model)
    before = bits(model)
    other.fit(plain.rows[:20])
    assert bits(model) == before
    assert len(other.user_factors) == 20


@pytest.mark.parametrize("mmap", [False, True])
def test_a_loaded_model_is_the_saved_one_and_goes_on_as_it_would(case, mmap, dtype, tmp_path):
    model = case.fit(dtype=np.dtype(dtype).name, warm_start=True)
    model.save(tmp_path / "model.safetensors")
    loaded = case.cls.load(tmp_path / "model.safetensors", mmap=mmap)
    assert bits(loaded) == bits(model)
    assert repr(loaded) == repr(model)
    assert repr(loaded.get_params()) == repr(model.get_params())
    for name in model._fitted_state:
        if name == "mean_squares_" and case.params.get("optimizer") == "sgd":  # no sums of Adagrad
            assert not hasattr(model, name)
            continue
        assert getattr(loaded, name) == getattr(model, name)
    for got, expected in zip(loaded.recommend([3, 0], 4), model.recommend([3, 0], 4), strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(loaded.predict(USERS, ITEMS), model.predict(USERS, ITEMS))
    for call in ("fold_in_users", "fold_in_items"):
        rows = case.rows if call == "fold_in_users" else case.rows.T
        np.testing.assert_array_equal(getattr(loaded, call)(rows), getattr(model, call)(rows))
    if case.cls is CosineMF:
        for one in (model, loaded):
            one.update([0, M, M + 1], [N + 1, 3, 0], [1, 0, 1])
        assert bits(loaded) == bits(model)
        assert loaded.user_factors.shape[0] == M + 2
    else:
        assert bits(loaded.fit(case.rows)) == bits(model.fit(case.rows))


def test_without_interactions_a_loaded_model_says_what_it_needs(plain, tmp_path):
    plain.fit().save(tmp_path / "m", interactions=False)
    loaded = plain.cls.load(tmp_path / "m")
    with pytest.raises(ValueError, match="pass user_items, or exclude_seen=False"):
        loaded.recommend(0)
    ids, _ = loaded.recommend([1], N, user_items=plain.rows)
    assert not np.isin(ITEMS[USERS == 1], ids).any()


# --- warm start, callbacks, interruption ------------------------------------------------------------------------------


def test_warm_start_goes_on_where_the_model_is(case):
    """Its first epoch starts with the loss at which the fit before it ended: below that of a fit from scratch."""
    model = case.fit(epochs=10, warm_start=True)
    loss = next(key for key in model.history_ if key.startswith("train_"))
    first, last = model.history_[loss][0], model.history_[loss][-1]
    model.set_params(epochs=1).fit(case.rows)
    assert model.n_iter_ == 1
    assert abs(model.history_[loss][0] - last) < 0.5 * (first - last)


def test_warm_start_keeps_old_rows_and_draws_new_ones(plain):
    model = plain.fit(plain.rows[:25, :20], warm_start=True, dtype="float64")
    old = model.user_factors.copy(), model.item_factors.copy()
    model.set_params(epochs=1, learning_rate=1e-12).fit(plain.rows)
    assert (model.user_factors.shape[0], model.item_factors.shape[0]) == (M, N)
    f = slice(model.factors)
    np.testing.assert_allclose(model.user_factors[:25, f], old[0][:, f], atol=1e-8)
    np.testing.assert_allclose(model.item_factors[:20, f], old[1][:, f], atol=1e-8)
    assert len(np.unique(model.user_factors[25:], axis=0)) == M - 25
    before = bits(model)
    with pytest.raises(ValueError, match=f"at most 25 users and {N} items, got 5 columns for {M} users and {N} items"):
        model.fit(plain.rows[:25])
    with pytest.raises(ValueError, match="warm_start needs factors of 3 columns"):
        model.set_params(factors=3).fit(plain.rows)
    assert bits(model) == before


def test_a_callback_sees_read_only_factors_predictions_and_errors_of_every_epoch(case, monkeypatch):
    model, seen = case.make(dtype="float64"), count(1)

    def look(state):
        assert (state.iteration, state.solved) == (next(seen), "both")
        assert bits(model) == bits(state)
        for array in (state.user_factors, state.item_factors, state.predictions, state.errors, state.users):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        np.testing.assert_array_equal(state.users, USERS)
        np.testing.assert_array_equal(state.items, ITEMS)
        np.testing.assert_allclose(state.predictions, dense(model)[KNOWN], rtol=1e-10, atol=1e-12)
        truth = case.rows.data > 0 if case.cls is LogisticMF else case.rows.data
        np.testing.assert_allclose(state.errors, truth - dense(model)[KNOWN], rtol=1e-10, atol=1e-10)
        assert state.objective == state.history["objective"][-1]

    model.fit(case.rows, callback=look)
    assert next(seen) == 4


def test_a_callback_that_returns_true_ends_the_fit(plain):
    model = plain.fit(epochs=9, fit={"callback": lambda state: state.iteration == 4})
    assert model.n_iter_ == 4
    assert bits(model) == bits(plain.fit(epochs=4))
    assert plain.fit(fit={"callback": lambda state: 1}).n_iter_ == 3  # only True is True


def test_control_c_leaves_the_last_complete_epoch(case):
    def interrupt(state):
        if state.iteration == 2:
            raise KeyboardInterrupt

    model = case.make(epochs=9)
    with pytest.raises(KeyboardInterrupt):
        model.fit(case.rows, callback=interrupt)
    assert model.n_iter_ == 2
    assert bits(model) == bits(case.fit(epochs=2))
    assert model.recommend(0)[0].shape == (10,)


@pytest.mark.parametrize(("name", "params"), [
    ("BiasedMF", {"learning_rate": 1e6}), ("BiasedMF", {"learning_rate": 5.0, "epochs": 50}),
    ("BiasedMF in a range", {"learning_rate": 1e6}), ("LogisticMF", {"learning_rate": 1e6, "optimizer": "sgd"}),
    ("LogisticMF", {"learning_rate": 1e39}), ("CosineMF", {"learning_rate": 1e39}),
])  # fmt: skip
def test_a_fit_that_diverges_raises_and_leaves_the_model_unchanged(name, params, kernels, monkeypatch):
    case = Case(name)
    monkeypatch.setattr(case.cls, "_backend", lambda self: kernels)
    model = case.fit()
    before, held = bits(model), dict(model.__dict__)
    rate = params["learning_rate"]
    model.set_params(**params)
    with pytest.raises(OverflowError, match=rf"{case.cls.__name__} diverges in epoch \d+: lower learning_rate"):
        model.fit(case.rows)
    assert bits(model) == before
    assert model.__dict__ == held | params
    fresh = case.make(**params)
    with pytest.raises(OverflowError, match=f"lower learning_rate, got {rate!r}".replace("+", r"\+")):
        fresh.fit(case.rows)
    with pytest.raises(NotFittedError):
        fresh.recommend(0)
