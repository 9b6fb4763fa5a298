"""BPR: triples ranked by stochastic gradient descent, with either loss and any distribution of negatives."""

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import BPR, Popularity
from alternant.datasets import planted
from alternant.evaluation import leave_one_out, ranking_metrics
from alternant.models.sgd import pairwise, triples

M, N = 60, 40
rng = np.random.default_rng(0)
KNOWN = rng.standard_normal((M, 2)) @ rng.standard_normal((2, N)) + rng.standard_normal((M, N)) / 2 > 0.8
KNOWN[7] = False
ROWS = sp.csr_array(np.where(KNOWN, rng.integers(1, 9, (M, N)), 0.0))
CASES = {
    "bpr": {},
    "bpr of the paper": {"max_sampled": 1, "optimizer": "sgd", "regularization": 0.01},
    "popular negatives": {"sampling": "popularity", "max_sampled": 1},
    "adaptive negatives": {"sampling": "adaptive", "adaptive_rate": 0.05, "max_sampled": 1},
    "warp": {"loss": "warp"},
    "warp by sgd, any negative": {"loss": "warp", "optimizer": "sgd", "verify_negatives": False},
}


def fit(rows=ROWS, **params):
    return BPR(**{"factors": 4, "epochs": 3, "random_state": 0} | params).fit(rows)


def same_bits(one, other):
    return all(getattr(one, f"{side}_factors").tobytes() == getattr(other, f"{side}_factors").tobytes()
               for side in ("user", "item"))  # fmt: skip


@pytest.mark.many_steps
@pytest.mark.parametrize("case", CASES)
def test_it_beats_popularity_on_planted_interactions(case):
    """NDCG@10 of one held-out interaction per user at least 1.5 times that of the popularity ranking."""
    train, test = leave_one_out(planted(400, 150, 4, random_state=0).interactions, random_state=0)
    models = Popularity().fit(train), BPR(factors=8, random_state=0, **CASES[case]).fit(train)
    popular, ours = (ranking_metrics(model.recommend(np.arange(400))[0], test).ndcg for model in models)
    assert ours > 1.5 * popular


@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_depend_on_threads_even_if_they_run(case, monkeypatch):
    monkeypatch.setattr(pairwise, "WORK_PER_THREAD", 1)
    monkeypatch.setattr(pairwise, "ROUND_TRIPLES", 8)
    models = [fit(num_threads=threads, **CASES[case]) for threads in (1, 2, 8)]
    assert same_bits(models[0], models[1])
    assert same_bits(models[0], models[2])


def test_an_epoch_is_a_plain_loop_over_the_triples_of_the_paper(monkeypatch):
    """Numbers of rows and blocks are those of the model: the loop knows only triples, and three lambdas."""
    drawn, draw, calls, step = [], triples.Drawing.rows, [], pairwise.PairwiseTraining.step
    monkeypatch.setattr(triples.Drawing, "rows", lambda *a: drawn.append(draw(*a)) or drawn[-1])
    monkeypatch.setattr(pairwise.PairwiseTraining, "step", lambda *a: calls.append(a) or step(*a))
    params = {"regularization": (0.1, 0.2), "negative_regularization": 0.3, "bias_regularization": 0.4}
    model = fit(dtype="float64", epochs=1, learning_rate=0.1, max_sampled=1, optimizer="sgd", **params)
    (state, _), = calls  # fmt: skip
    (found,) = drawn
    start = model._start(ROWS.shape, np.random.default_rng(0), {})
    start.X[7] = 0
    X, Y, c = start.X, start.Y, start.column_bias
    for u, i, j in zip(state.rows[found.rows], state.columns[found.positives], state.columns[found.negatives],
                       strict=True):  # fmt: skip
        assert KNOWN[u, i]
        assert not KNOWN[u, j]
        x, y, z, g = X[u].copy(), Y[i].copy(), Y[j].copy(), 1 / (1 + np.exp(c[i] - c[j] + X[u] @ (Y[i] - Y[j])))
        X[u] += 0.1 * (g * (y - z) - 0.1 * x)
        Y[i] += 0.1 * (g * x - 0.2 * y)
        Y[j] += 0.1 * (-g * x - 0.3 * z)
        c[i] += 0.1 * (g - 0.4 * c[i])
        c[j] += 0.1 * (-g - 0.4 * c[j])
    assert len(found.rows) == KNOWN.sum()
    np.testing.assert_allclose(model.user_factors, np.hstack([X, np.ones((M, 1))]), rtol=1e-9)
    np.testing.assert_allclose(model.item_factors, np.hstack([Y, c[:, None]]), rtol=1e-9)


def test_weights_of_warp_fall_with_the_rank_that_the_draws_suggest():
    weights = BPR(loss="warp", max_sampled=5)._rank_weights(11)
    ranks = [10, 5, 3, 2, 2]  # (11 - 1) // draws
    np.testing.assert_allclose(weights, [sum(1 / k for k in range(1, r + 1)) for r in ranks] / weights[0] / 2.9289683,
                               rtol=1e-6)  # fmt: skip
    assert BPR(max_sampled=1)._rank_weights(11) is None


def test_values_of_0_or_less_are_no_interactions_but_items_that_may_be_negatives():
    disliked = ROWS.copy()
    disliked.data[::5] *= -1
    without = sp.csr_array(np.maximum(disliked.toarray(), 0))
    assert same_bits(fit(disliked), fit(without))
    with pytest.raises(ValueError, match="at least one value above 0, got none"):
        fit(-ROWS)


def test_users_without_interactions_are_ranked_by_the_biases():
    model = fit(epochs=20)
    order = np.argsort(-model.item_factors[:, -1], kind="stable")
    np.testing.assert_array_equal(model.recommend(7, k=5)[0], order[:5])


def test_a_user_who_has_everything_stops_nothing():
    rows = ROWS.toarray()
    rows[3] = 1
    assert np.isfinite(fit(sp.csr_array(rows)).user_factors).all()


@pytest.mark.parametrize("case", CASES)
def test_a_fold_in_depends_on_the_user_alone_and_ranks_the_user_s_items_high(case):
    train, params = ROWS[:50], CASES[case]
    model = fit(train, epochs=30, learning_rate=0.1, **params)
    new = ROWS[50:]
    together = model.fold_in_users(new)
    alone = np.vstack([model.fold_in_users(new[u : u + 1]) for u in range(new.shape[0])])
    np.testing.assert_array_equal(together, alone)
    scores, known = together @ model.item_factors.T, KNOWN[50:]
    above = [np.mean(row[own][:, None] > row[~own]) for row, own in zip(scores, known, strict=True)]
    assert np.mean(above) > 0.8  # AUC
    mean_user = model.user_factors.mean(axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(model.fold_in_users(ROWS[7:8])[0], mean_user)


def test_held_out_pairs_are_compared_with_one_other_item_each():
    still = fit(validation_fraction=0.3, learning_rate=1e-9)
    np.testing.assert_allclose(still.history_["validation_loss"], np.log(2), rtol=1e-3)  # all scores are nearly 0
    history = fit(validation_fraction=0.3, epochs=10).history_
    assert history["validation_loss"][-1] < history["validation_loss"][0]
    assert all(0 < count <= 0.7 * KNOWN.sum() + 1 for count in history["triples"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", "hinge", "loss must be one of 'bpr', 'warp'"),
        ("sampling", "random", "sampling must be one of"),
        ("adaptive_rate", 0, "adaptive_rate must be greater than 0"),
        ("max_sampled", 0, "max_sampled must be at least 1"),
        ("negative_regularization", -1.0, "negative_regularization must be at least 0"),
        ("verify_negatives", 1, "verify_negatives must be"),
    ],
)
def test_a_bad_parameter_is_named(name, value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        BPR(**{name: value})


def test_a_fit_and_a_fold_in_that_diverge_say_so_and_change_nothing():
    model = fit()
    before = model.user_factors.tobytes()
    model.set_params(learning_rate=1e30)
    with pytest.raises(OverflowError, match="BPR diverges in epoch 1: lower learning_rate, got 1e"):
        model.fit(ROWS)
    with pytest.raises(OverflowError, match=r"in epoch 1: lower init_scale, got 1e\+300, or learning_rate, got 1e-09"):
        model.set_params(learning_rate=1e-9, init_scale=1e300).fit(ROWS)
    model.set_params(learning_rate=1e30, init_scale=0.02)
    if model.backend_ != "numpy":  # whose steps are in float64
        with pytest.raises(OverflowError, match="folding in a new user diverges"):
            model.fold_in_users(ROWS[:3])
    assert model.user_factors.tobytes() == before


@pytest.mark.parametrize("blocks", [1, 2, 4, 8, 32])
def test_the_number_of_blocks_leaves_every_round_enough_triples(blocks):
    rounds = max(1, blocks // 2 * (blocks - 1))
    assert pairwise.block_count(1000, 1000, pairwise.ROUND_TRIPLES * rounds) >= blocks
    assert pairwise.block_count(1000, blocks, 1 << 40) <= blocks


def test_users_with_all_items_have_nothing_to_rank():
    with pytest.warns(UserWarning, match="each user has interacted with all items or with none"):
        BPR(factors=2, epochs=1).fit(np.ones((3, 3)))
    BPR(factors=2, epochs=1, verify_negatives=False).fit(np.ones((3, 3)))


def test_only_interactions_that_are_ranked_are_held_out():
    values = np.where(np.random.default_rng(0).random((30, 20)) < 0.5, 1.0, -1.0) * (np.arange(20) % 3 > 0)
    for seed in range(10):
        model = BPR(factors=2, epochs=2, validation_fraction=0.001, random_state=seed).fit(sp.csr_array(values))
        assert model.history_["validation_loss"][0] > 0
    dislike = sp.csr_array(([-1.0], ([0], [1])), shape=values.shape)
    with pytest.raises(ValueError, match="validation must contain at least one value above 0"):
        BPR(factors=2).fit(sp.csr_array(values), validation=dislike)


def test_a_warm_start_keeps_users_that_have_no_interactions_any_more():
    rows = sp.csr_array(np.random.default_rng(0).random((12, 9)) < 0.5).astype(float)
    model = BPR(factors=3, epochs=2, random_state=0).fit(rows)
    before = model.user_factors[0].copy()
    less = rows.tolil()
    less[0] = 0
    wider = sp.vstack([less.tocsr(), sp.csr_array((1, 9))]).tocsr()
    model.set_params(warm_start=True).fit(wider)
    np.testing.assert_array_equal(model.user_factors[0], before)
    assert not model.user_factors[12, :-1].any()


def test_popular_negatives_are_drawn_without_the_interactions_too(tmp_path):
    rows = sp.csr_array(np.random.default_rng(0).random((40, 25)) < np.linspace(0.05, 0.9, 25)).astype(float)
    model = BPR(factors=3, epochs=3, sampling="popularity", random_state=0).fit(rows)
    model.save(tmp_path / "without", interactions=False)
    loaded = BPR.load(tmp_path / "without")
    np.testing.assert_array_equal(loaded.fold_in_users(rows[:5]), model.fold_in_users(rows[:5]))
