"""The dashboards show the numbers of the fit and of the evaluations."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plotting needs matplotlib, the extra `plot`")
import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot
from matplotlib.figure import Figure
from refusal import refuses

from alternant import EASE, BiasedMF, ImplicitALS, Popularity, plotting
from alternant.datasets import planted
from alternant.evaluation import evaluate, leave_one_out, random_split

DATA = planted(300, 60, 4, interactions_per_user=10, random_state=0).interactions
TRAIN, TEST = random_split(DATA, 0.3, random_state=0)


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def als():
    return ImplicitALS(factors=4, iterations=6, random_state=0).fit(TRAIN)


@pytest.fixture(scope="module")
def evaluations(als):
    return {name: evaluate(model, TEST, k=(3, 5, 10)) for name, model in
            {"als": als, "popular": Popularity().fit(TRAIN)}.items()}  # fmt: skip


def points(ax):
    """The values that each model has in a panel."""
    return [container.lines[0].get_ydata() for container in ax.containers]


def test_the_dashboard_of_a_fit_shows_its_history_and_norms(als):
    objective, falls, seconds, norms = plotting.plot_fit(als).axes
    history = als.history_
    np.testing.assert_array_equal(objective.lines[0].get_ydata(), history["objective"])
    expected = -np.diff(history["objective"]) / history["objective"][:-1]
    np.testing.assert_allclose(falls.lines[0].get_ydata(), np.where(expected > 0, expected, np.nan))
    np.testing.assert_allclose(np.cumsum([bar.get_height() for bar in seconds.patches]), history["seconds"])
    assert [text.get_text() for text in norms.get_legend().get_texts()] == ["users", "items"]
    popular = np.bincount(TRAIN.indices, minlength=60).argmax()
    assert norms.lines[1].get_ydata()[-1] == pytest.approx(np.linalg.norm(als.item_factors[popular]), rel=0.5)


def test_names_of_models_are_drawn_as_they_are(evaluations):
    """Dollars begin no formula, an underscore hides nothing, and long names are shortened."""
    names = ["price $5 or $7 \\frac{", "_hidden", "x" * 80]
    drawn = plotting.plot_evaluation(dict.fromkeys(names, evaluations["als"]))
    shown = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert shown == [r"price \$5 or \$7 \frac{", "_hidden", "x" * 49 + "…"]
    drawn.canvas.draw()  # text that is no formula can be drawn


def test_the_dashboard_of_a_fit_shows_validation_if_there_is_one():
    model = BiasedMF(factors=2, epochs=3, validation_fraction=0.2, random_state=0).fit(TRAIN)
    figure = Figure()
    assert plotting.plot_fit(model, figure=figure) is figure
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    assert drawn == {
        "validation RMSE": pytest.approx(model.history_["validation_rmse"]),
        "training RMSE": pytest.approx(model.history_["train_rmse"]),
    }


def test_the_dashboard_of_evaluations_shows_means_and_intervals(evaluations):
    by_length, by_activity, by_popularity, coverage = plotting.plot_evaluation(evaluations, metric="recall", k=5).axes
    for drawn, one in zip(points(by_length), evaluations.values(), strict=True):
        np.testing.assert_allclose(drawn, [one.means[f"recall@{k}"] for k in (3, 5, 10)])
    for drawn, one in zip(points(coverage), evaluations.values(), strict=True):
        np.testing.assert_allclose(drawn, [one.means[f"coverage@{k}"] for k in (3, 5, 10)])
    tops = [segment[1][1] for segment in by_length.containers[0].lines[2][0].get_segments()]
    np.testing.assert_allclose(tops, [evaluations["als"].intervals[f"recall@{k}"].high for k in (3, 5, 10)])
    assert by_activity.get_title() == "recall@5 by activity"
    assert by_popularity.get_title() == "share of test interactions in lists of 5"


def test_bins_of_users_and_items_hold_everything_once(evaluations, als):
    one = evaluations["als"]
    _, by_activity, by_popularity, _ = plotting.plot_evaluation(one, metric="recall", k=5).axes
    known = np.diff(TRAIN.indptr)[one.users]
    (drawn,) = points(by_activity)
    ranges = [text.get_text().replace(",", "").split("\N{EN DASH}") for text in by_activity.get_xticklabels()]
    assert len(ranges) > 2
    for value, ends in zip(drawn, ranges, strict=True):
        inside = (known >= int(ends[0])) & (known <= int(ends[-1]))
        assert value == pytest.approx(one.per_user["recall@5"][inside].mean())
    ids, _ = als.recommend(np.arange(300), 5)
    hits = [np.isin(TEST.indices[TEST.indptr[u] : TEST.indptr[u + 1]], ids[u]) for u in range(300)]
    found = np.bincount(TEST.indices, np.concatenate(hits), minlength=60)
    counts, tests = np.bincount(TRAIN.indices, minlength=60), np.bincount(TEST.indices, minlength=60)
    ranges = [text.get_text().replace(",", "").split("\N{EN DASH}") for text in by_popularity.get_xticklabels()]
    for value, ends in zip(points(by_popularity)[0], ranges, strict=True):
        inside = (counts >= int(ends[0])) & (counts <= int(ends[-1]))
        assert value == pytest.approx(found[inside].sum() / tests[inside].sum())


def test_metrics_without_lists_and_evaluations_without_histories():
    model = BiasedMF(factors=2, epochs=2, random_state=0).fit(TRAIN)
    only = evaluate(model, TEST, metrics="rmse")
    by_length, by_activity, by_popularity, coverage = plotting.plot_evaluation(only, metric="rmse").axes
    np.testing.assert_allclose(points(by_length), [[only.means["rmse"]]])
    assert points(by_activity)
    assert "ranking metric" in by_popularity.texts[0].get_text()
    assert "coverage" in coverage.texts[0].get_text()
    train, test = leave_one_out(DATA, random_state=0)
    unknown = evaluate(Popularity().fit(train), test, k=5, exclude_seen=False)
    assert "not passed" in plotting.plot_evaluation(unknown).axes[1].texts[0].get_text()


def test_what_cannot_be_drawn_is_refused(evaluations, als):
    draw = plotting.plot_evaluation
    refuses(ValueError, "metric must be one of .*ndcg", lambda: draw(evaluations, metric="cover"))
    refuses(ValueError, r"k must be a list length of the evaluations, .*5, 10\]", lambda: draw(evaluations, k=7))
    refuses(TypeError, "evaluations must be what evaluate returns, got float", lambda: draw([0.3]))
    refuses(ValueError, "evaluations must hold at least one", lambda: draw([]))
    refuses(ValueError, "labels must be 1 different names", lambda: draw(evaluations["als"], labels=["a", "b"]))
    refuses(TypeError, "figure must be a matplotlib Figure", lambda: plotting.plot_fit(als, figure=pyplot))
    refuses(ValueError, "not fitted by iterations", lambda: plotting.plot_fit(EASE().fit(TRAIN)))
