"""ContrastiveMF: unit vectors learned with many negatives, by either loss."""

import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import ContrastiveMF, Popularity
from alternant.datasets import planted
from alternant.evaluation import leave_one_out, ranking_metrics
from alternant.kernels._registry import active_backend
from alternant.models.sgd import contrastive

M, N = 60, 40
rng = np.random.default_rng(0)
KNOWN = rng.standard_normal((M, 2)) @ rng.standard_normal((2, N)) + rng.standard_normal((M, N)) / 2 > 0.8
KNOWN[7] = False
ROWS = sp.csr_array(np.where(KNOWN, rng.integers(1, 9, (M, N)), 0.0))
CASES = {
    "softmax": {},
    "contrastive": {"loss": "contrastive", "margin": 0.3, "negative_weight": 3.0},
    "all items are negatives": {"negatives": 1000, "degree_exponent": 0.0},
}


def fit(rows=ROWS, **params):
    small = {"factors": 4, "epochs": 3, "batch_size": 16, "negatives": 9, "random_state": 0}
    return ContrastiveMF(**small | params).fit(rows)


def same_bits(one, other):
    return all(getattr(one, f"{side}_factors").tobytes() == getattr(other, f"{side}_factors").tobytes()
               for side in ("user", "item"))  # fmt: skip


@pytest.mark.many_steps
@pytest.mark.parametrize("case", ["softmax", "contrastive"])
def test_it_beats_popularity_on_planted_interactions(case):
    """NDCG@10 of one held-out interaction per user at least 1.5 times that of the popularity ranking."""
    train, test = leave_one_out(planted(400, 150, 4, random_state=0).interactions, random_state=0)
    models = Popularity().fit(train), ContrastiveMF(factors=8, random_state=0, **CASES[case]).fit(train)
    popular, ours = (ranking_metrics(model.recommend(np.arange(400))[0], test).ndcg for model in models)
    assert ours > 1.5 * popular


@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_depend_on_threads_even_if_they_run(case, monkeypatch):
    monkeypatch.setattr(contrastive, "BATCH_WORK_PER_THREAD", 1)
    models = [fit(num_threads=threads, **CASES[case]) for threads in (1, 2, 8)]
    assert same_bits(models[0], models[1])
    assert same_bits(models[0], models[2])


def test_vectors_have_length_1_and_users_without_interactions_the_direction_of_the_mean_user():
    model = fit(dtype="float64")
    for side in (model.user_factors, model.item_factors):
        np.testing.assert_allclose(np.linalg.norm(side, axis=1), 1, rtol=1e-12)
    mean = np.delete(model.user_factors, 7, axis=0).mean(axis=0)
    np.testing.assert_allclose(model.user_factors[7], mean / np.linalg.norm(mean), rtol=1e-9)
    assert np.abs(model.predict(np.repeat(np.arange(M), N), np.tile(np.arange(N), M))).max() <= 1


def test_values_of_0_or_less_are_no_interactions():
    disliked = ROWS.copy()
    disliked.data[::5] *= -1
    without = sp.csr_array(np.maximum(disliked.toarray(), 0))
    assert same_bits(fit(disliked), fit(without))
    with pytest.raises(ValueError, match="at least one value above 0, got none"):
        fit(-ROWS)


@pytest.mark.parametrize(("count", "n", "size"), [(7, 10, 4), (5, 6, 6), (3, 5, 1), (0, 5, 2)])
def test_samples_are_of_different_items_and_take_turns(count, n, size):
    samples = contrastive.draw_samples(np.random.default_rng(0), count, n, size)
    assert samples.shape == (count, size)
    assert (np.diff(samples, axis=1) > 0).all()
    for first in range(0, count, n // size):
        drawn = samples[first : first + n // size].ravel()
        assert len(np.unique(drawn)) == len(drawn)


def test_the_objective_weights_users_by_a_power_of_their_counts():
    """With all items as negatives and hardly any step, it is the textbook's sum over the initial vectors."""
    for exponent in (0.0, 0.5, 1.0):
        model = fit(dtype="float64", epochs=1, learning_rate=1e-9, negatives=N, degree_exponent=exponent)
        scores = np.exp(model.user_factors @ model.item_factors.T / model.temperature)
        losses = np.log1p(scores.sum(axis=1, keepdims=True) / scores)[KNOWN]
        weights = np.repeat(1 / np.maximum(KNOWN.sum(axis=1), 1) ** exponent, KNOWN.sum(axis=1))
        assert model.history_["train_loss"][0] == pytest.approx(np.average(losses, weights=weights), rel=1e-6)


def test_held_out_interactions_are_measured_by_the_loss_of_the_model():
    train, held_out = ROWS.copy(), ROWS.copy()
    train.data[::4], held_out.data[np.arange(held_out.nnz) % 4 > 0] = 0, 0
    model = ContrastiveMF(factors=4, epochs=1, random_state=0, dtype="float64", negatives=N, **CASES["contrastive"])
    model.fit(train, validation=held_out)
    cosines, counts = model.user_factors @ model.item_factors.T, (held_out > 0).sum(axis=1)
    losses = 1 - cosines + 3 * np.maximum(0, cosines - 0.3).mean(axis=1, keepdims=True)
    expected = np.average(losses[held_out.toarray() > 0], weights=np.repeat(counts, counts) ** -0.5)
    assert model.history_["validation_loss"][0] == pytest.approx(expected)


@pytest.mark.parametrize("case", CASES)
def test_a_fold_in_depends_on_the_user_alone_and_ranks_the_user_s_items_high(case):
    model, new = fit(ROWS[:50], epochs=30, **CASES[case]), ROWS[50:]
    together = model.fold_in_users(new)
    alone = np.vstack([model.fold_in_users(new[u : u + 1]) for u in range(new.shape[0])])
    np.testing.assert_array_equal(together, alone)
    scores, known = together @ model.item_factors.T, KNOWN[50:]
    above = [np.mean(row[own][:, None] > row[~own]) for row, own in zip(scores, known, strict=True)]
    assert np.mean(above) > 0.8  # AUC


def test_a_warm_start_takes_steps_as_short_as_those_before():
    """Without an estimate of Adagrad's sums, the first steps would have the length of the learning rate."""
    model = fit(epochs=40)
    before = model.item_factors
    model.set_params(warm_start=True, epochs=1).fit(ROWS)
    moved = np.linalg.norm(model.item_factors - before, axis=1)
    assert 0 < moved.mean() < 0.2 * model.learning_rate


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", "hinge", "loss must be one of 'softmax', 'contrastive'"),
        ("negatives", 0, "negatives must be at least 1"),
        ("temperature", 0, "temperature must be greater than 0"),
        ("margin", -2, "margin must be at least -1"),
        ("negative_weight", -1.0, "negative_weight must be at least 0"),
        ("degree_exponent", -1.0, "degree_exponent must be at least 0"),
        ("batch_size", 1.5, "batch_size must be a whole number"),
    ],
)
def test_a_bad_parameter_is_named(name, value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ContrastiveMF(**{name: value})


def test_a_fit_and_a_fold_in_that_overflow_say_so_and_change_nothing():
    model = fit()
    before = model.user_factors.tobytes()
    model.set_params(temperature=1e-320)
    with pytest.raises(OverflowError, match="ContrastiveMF overflows in epoch 1: raise temperature, got 1e-320"):
        model.fit(ROWS)
    with pytest.raises(OverflowError, match="folding in a new user overflows: raise temperature"):
        model.fold_in_users(ROWS[:3])
    assert model.user_factors.tobytes() == before


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"learning_rate": 1e300}, OverflowError, "overflows in epoch 1: lower learning_rate, got 1e\\+300"),
        ({"temperature": 1e-300}, OverflowError, "overflows in epoch 1: raise temperature, got 1e-300"),
        ({"degree_exponent": 1e5}, ValueError, "degree_exponent must leave some user a weight above 0, got 1"),
    ],
)
def test_what_overflows_is_named(params, error, message):
    if active_backend().name == "numpy" and error is OverflowError:
        pytest.skip("the steps of plain NumPy are in float64, in which these do not overflow")
    rows = sp.csr_array(np.triu(np.ones((5, 6))))  # at least two interactions a user
    model = ContrastiveMF(factors=2, epochs=2, random_state=0).fit(rows)
    refuses(error, message, lambda: model.set_params(**params).fit(rows), model.user_factors, model.item_factors)


def test_a_table_without_zeros_has_nothing_to_rank():
    with pytest.warns(UserWarning, match="all items or with none, so that there is nothing to rank"):
        ContrastiveMF(factors=2, epochs=1).fit(np.ones((4, 3)))
