"""Plots: each is rendered and shows the data that it documents."""

import copy
import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

pytest.importorskip("matplotlib", reason="plotting needs matplotlib, the extra `plot`")
import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.text import Text

from alternant import BiasedMF, ImplicitALS, Popularity, plotting
from alternant.datasets import load_msweb, planted
from alternant.models import NotFittedError

DATA = planted(60, 40, 4, interactions_per_user=10, random_state=0).interactions
NAMES = [f"item number {i}" for i in range(40)]


@pytest.fixture(autouse=True)
def nothing_shown(monkeypatch):
    pyplot.close("all")  # those of other tests
    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("a figure was shown"))
    settings = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == settings
    pyplot.close("all")


@pytest.fixture(scope="module")
def model():
    return ImplicitALS(factors=6, iterations=5, random_state=0).fit(DATA)


@pytest.fixture(scope="module")
def web():
    return ImplicitALS(factors=16, iterations=3, random_state=0).fit(load_msweb().interactions)


@pytest.fixture(scope="module")
def ratings():
    table = DATA.copy()
    table.data = 1 + table.data % 5
    return BiasedMF(factors=3, epochs=4, validation_fraction=0.2, random_state=0).fit(table)


def with_history(model, **history):
    other = copy.deepcopy(model)
    other.history_ = history
    return other


def render(ax):
    """Render the figure as a PNG and return its pixels."""
    buffer = io.BytesIO()
    ax.figure.canvas.figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    buffer.seek(0)
    pixels = pyplot.imread(buffer)
    assert np.ptp(pixels[..., :3]) > 0.5, "the figure is blank"
    return pixels


def boxes_of(texts):
    # Not the annotation's own extent, which includes its line.
    return [Text.get_window_extent(text) for text in texts if text.get_text()]


def overlaps(texts):
    return [pair for pair in itertools.combinations(boxes_of(texts), 2) if pair[0].overlaps(pair[1])]


def written(texts):
    return [text.get_text() for text in texts]


def legend(ax):
    return written(ax.get_legend().get_texts())


# Histories of fits


def test_the_curve_of_a_fit_is_its_history(model):
    ax = plotting.plot_history(model)
    render(ax)
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert line.get_ydata().tolist() == model.history_["objective"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_legend()) == ("iteration", "objective", None)


def test_the_x_axis_may_be_seconds(model):
    ax = plotting.plot_history(model, x="seconds")
    assert list(ax.lines[0].get_xdata()) == model.history_["seconds"]
    assert ax.get_xlabel() == "seconds since the fit began"


def test_keys_on_different_scales_get_separate_axes(model):
    fit = with_history(model, objective=[9e4, 8e4], train_rmse=[0.8, 0.7], validation_rmse=[0.9, 0.8], seconds=[1, 2])
    ax = plotting.plot_history(fit)
    render(ax)
    twin = ax.figure.axes[-1]
    assert twin is not ax
    assert [line.get_ydata().tolist() for line in (*ax.lines, *twin.lines)] == [[9e4, 8e4], [0.9, 0.8]]
    assert (ax.get_ylabel(), twin.get_ylabel()) == ("objective", "validation RMSE")
    assert legend(twin) == ["objective", "validation RMSE"]
    assert ax.lines[0].get_linestyle() != twin.lines[0].get_linestyle()
    assert ax.yaxis.label.get_color() == ax.lines[0].get_color() != twin.lines[0].get_color()


def test_a_fit_by_gradient_descent_is_drawn_over_epochs_with_its_validation_error(ratings):
    ax = plotting.plot_history(ratings)
    render(ax)
    drawn = [line for axes in ax.figure.axes for line in axes.lines]
    assert [line.get_ydata().tolist() for line in drawn] == [
        ratings.history_["objective"], ratings.history_["validation_rmse"],
    ]  # fmt: skip
    assert ax.get_xlabel() == "epoch"


def test_errors_on_one_scale_share_an_axis(model):
    ax = plotting.plot_history(with_history(model, a=[1.0, 0.5], b=[2.0, 1.5]), keys=["b", "a"])
    assert ax.figure.axes == [ax]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2, 1.5], [1, 0.5]]


def test_models_are_named_by_the_parameters_in_which_they_differ(model):
    small = ImplicitALS(factors=2, iterations=3, random_state=0).fit(DATA)
    ax = plotting.plot_history([model, small])
    render(ax)
    assert legend(ax) == ["factors=6, iterations=5", "factors=2, iterations=3"]
    assert [len(line.get_xdata()) for line in ax.lines] == [5, 3]
    assert len({line.get_color() for line in ax.lines}) == 2
    assert legend(plotting.plot_history([model, copy.deepcopy(model)])) == ["ImplicitALS 1", "ImplicitALS 2"]


@pytest.mark.parametrize("form", ["dict", "labels"])
def test_models_have_the_given_names(model, form):
    models = {"one": model, "two": model}
    chosen = {"models": models} if form == "dict" else {"models": [model, model], "labels": ["one", "two"]}
    assert legend(plotting.plot_history(**chosen)) == ["one", "two"]


def test_the_legend_covers_no_curve_where_there_is_room(model):
    falling = with_history(model, objective=[100.0, 10.0, 1.0, 1.0, 1.0, 1.0])
    rising = with_history(model, objective=[1.0, 1.0, 1.0, 10.0, 50.0, 100.0])
    for fit in (falling, rising):
        ax = plotting.plot_history({"a": fit, "b": fit})
        render(ax)
        box = ax.get_legend().get_window_extent()
        assert not any(line.get_path().transformed(line.get_transform()).intersects_bbox(box) for line in ax.lines)


def test_a_fit_of_one_iteration_can_be_seen(model):
    (line,) = plotting.plot_history(with_history(model, objective=[3.0])).lines
    assert line.get_marker() == "o"


def test_twelve_models_have_twelve_colors(model):
    ax = plotting.plot_history({str(number): model for number in range(12)})
    assert len({tuple(line.get_color()) for line in ax.lines}) == 12


# Heat maps of factors


def test_the_heat_map_is_the_factors(model):
    rows = [3, 0, 7]
    ax = plotting.plot_factors(model, rows=rows, names=NAMES)
    render(ax)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), model.item_factors[rows].astype(float))
    assert written(ax.get_yticklabels()) == ["item number 3", "item number 0", "item number 7"]
    least, greatest = image.get_clim()
    assert -least == greatest == pytest.approx(np.abs(model.item_factors[rows]).max())
    assert ax.get_title() == "item factors, 3 of 40 items"
    assert len(ax.figure.axes) == 2, "a colour bar"


def test_the_rows_with_the_most_interactions_are_shown_by_default(model):
    ax = plotting.plot_factors(model, side="users")
    users = np.argsort(-np.diff(DATA.indptr), kind="stable")[:30]
    np.testing.assert_array_equal(ax.images[0].get_array(), model.user_factors[users].astype(float))
    assert ax.get_ylabel() == "user"


@pytest.mark.nightly
@pytest.mark.parametrize("count", [1, 10, 60, 200, 285])
def test_names_of_rows_do_not_overlap(web, count):
    ax = plotting.plot_factors(web, rows=np.arange(count), names=load_msweb().item_titles)
    render(ax)
    assert not overlaps(ax.get_yticklabels())
    assert not overlaps(ax.get_xticklabels())
    assert len(ax.get_yticks()) == (count if count <= 200 else 143), "up to 200 rows each have a name"
    figure = ax.figure.bbox
    for box in boxes_of(ax.get_yticklabels()):
        assert figure.x0 <= box.x0, "a name is cut off"
        assert box.x1 <= ax.bbox.x0


def test_columns_of_biases_are_left_out(ratings):
    values = plotting.plot_factors(ratings, rows=range(40)).images[0].get_array()
    np.testing.assert_array_equal(values, ratings.item_factors[:, :3].astype(float))


def test_outliers_do_not_determine_the_colour_scale(model):
    spiked = copy.deepcopy(model)
    factors = model.item_factors.copy()
    factors[0, 0] = 1000
    spiked.item_factors = factors
    assert plotting.plot_factors(spiked, rows=range(40)).images[0].get_clim()[1] < 10


def test_zero_factors_are_plotted_without_a_warning():
    empty = Popularity().fit(sparse.csr_array((3, 2)))
    ax = plotting.plot_factors(empty)
    render(ax)
    assert ax.images[0].get_clim() == (-1, 1)


def test_popularity_is_a_heat_map_of_one_column():
    ax = plotting.plot_factors(Popularity().fit(DATA), names=NAMES)
    render(ax)
    counts = np.bincount(DATA.indices, minlength=40)
    np.testing.assert_array_equal(ax.images[0].get_array().ravel(), np.sort(counts)[::-1][:30])


# Tables of predictions


def test_cells_are_labelled_with_predicted_and_actual_values(model):
    truth = np.full(DATA.shape, np.nan)
    truth[0, 1], truth[2, 3] = 4, 0
    ax = plotting.plot_predictions(model, truth, users=[0, 2], items=[1, 3])
    render(ax)
    predicted = model.predict([[0], [2]], [[1, 3]])
    assert written(ax.texts) == [
        f"{predicted[0, 0]:.2f} (4)", f"{predicted[0, 1]:.2f}", f"{predicted[1, 0]:.2f}", f"{predicted[1, 1]:.2f} (0)",
    ]  # fmt: skip
    errors = ax.images[0].get_array()
    assert np.ma.getmaskarray(errors).tolist() == [[False, True], [True, False]]
    np.testing.assert_allclose(errors.compressed(), [predicted[0, 0] - 4, predicted[1, 1]], rtol=1e-6)
    assert ax.figure.axes[-1].get_ylabel() == "predicted \N{MINUS SIGN} actual"
    assert ax.get_title() == "predicted (actual)"


def test_ratings_have_one_decimal_and_their_errors_are_the_colors(ratings):
    truth = ratings.interactions_.to_scipy()
    ax = plotting.plot_predictions(ratings, truth)
    render(ax)
    assert all(text[1] == "." and text[3:4] in ("", " ") for text in written(ax.texts))
    assert np.ma.getmaskarray(ax.images[0].get_array()).sum() == sum("(" not in text for text in written(ax.texts))


@pytest.mark.parametrize("form", ["coo", "csc", "csr", "dok", "lil"])
def test_stored_zeros_are_known_values(model, form):
    truth = sparse.coo_array(([5.0, 0.0], ([0, 1], [0, 1])), shape=DATA.shape)
    if form not in ("dok", "lil"):  # which may drop zeros
        ax = plotting.plot_predictions(model, truth.asformat(form), users=[0, 1], items=[0, 1])
        assert [text.endswith(")") for text in written(ax.texts)] == [True, False, False, True]
    else:
        ax = plotting.plot_predictions(model, DATA.asformat(form), users=[0], items=[DATA.indices[0]])
        assert written(ax.texts)[0].endswith(f"({DATA.data[0]:g})")


def test_the_targets_of_the_fit_are_the_default_truth(model):
    ax = plotting.plot_predictions(model, item_names=NAMES)
    render(ax)
    users = np.sort(np.argsort(-np.diff(DATA.indptr), kind="stable")[:12])
    items = np.sort(np.argsort(-np.bincount(DATA[users].indices, minlength=40), kind="stable")[:12])
    known = DATA[users][:, items].toarray() > 0
    errors = model.predict(users[:, None], items) - 1  # a preference is 1
    np.testing.assert_allclose(ax.images[0].get_array()[known], errors[known])
    assert [text.endswith("(1)") for text in written(ax.texts)] == known.ravel().tolist()
    assert written(ax.get_xticklabels()) == [NAMES[item] for item in items]
    assert ax.figure.axes[-1].get_ylabel().startswith("predicted \N{MINUS SIGN}")
    plain = plotting.plot_predictions(model, item_names=NAMES, color="prediction")
    np.testing.assert_allclose(plain.images[0].get_array(), model.predict(users[:, None], items))
    assert plain.figure.axes[-1].get_ylabel() == "predicted"


@pytest.mark.nightly
@pytest.mark.parametrize("size", [(12, 8), (5, 4)])
def test_the_texts_of_cells_do_not_overlap(model, size):
    ax = plotting.plot_predictions(model, DATA, ax=Figure(figsize=size, layout="constrained").add_subplot())
    render(ax)
    assert len(ax.texts) == 144
    assert not overlaps(ax.texts)


def test_texts_are_light_on_dark_cells(model):
    truth = np.full(DATA.shape, np.nan)
    truth[0, :2] = [50, 0]
    ax = plotting.plot_predictions(model, truth, users=[0], items=[0, 1, 2])
    assert [text.get_color() for text in ax.texts] == ["white", "black", "black"]


def test_a_large_table_has_colors_only(model):
    ax = plotting.plot_predictions(model, DATA, users=range(60), items=range(40))
    render(ax)
    assert not ax.texts
    assert ax.images[0].get_array().shape == (60, 40)
    assert ax.get_title() == "60 users, 40 items"


def test_zero_has_no_minus_sign(model):
    zero = copy.deepcopy(model)
    zero.item_factors = np.full_like(model.item_factors, -1e-9)
    assert all(text.startswith("0.00") for text in written(plotting.plot_predictions(zero).texts))


def test_popularity_predicts_its_counts():
    ax = plotting.plot_predictions(Popularity().fit(DATA), users=[0], items=[5, 6], color="prediction")
    render(ax)
    counts = np.bincount(DATA.indices, minlength=40)
    assert [text.split()[0] for text in written(ax.texts)] == [f"{count:.1f}" for count in counts[5:7]]


# Maps of items


def dots(ax):
    return np.concatenate([collection.get_offsets() for collection in ax.collections])


def test_the_map_is_the_plane_of_the_first_two_principal_components(model):
    ax = plotting.plot_item_map(model, NAMES, items=range(40))
    render(ax)
    unit = model.item_factors / np.linalg.norm(model.item_factors.astype(float), axis=1, keepdims=True)
    left, size, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(dots(ax)), np.abs(left[:, :2] * size[:2]), atol=1e-6)
    share = size**2 / (size**2).sum()
    assert ax.get_xlabel() == f"first component, {share[0]:.0%} of the variance"
    assert ax.get_aspect() == 1


def test_mirrored_and_rotated_factors_give_the_same_map(model):
    turned = copy.deepcopy(model)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    turned.item_factors = -model.item_factors @ rotation.astype(np.float32)
    np.testing.assert_allclose(
        dots(plotting.plot_item_map(turned)), dots(plotting.plot_item_map(model)), atol=1e-5
    )  # fmt: skip


@pytest.mark.nightly
@pytest.mark.parametrize("size", [(8, 6.4), (4, 4), (12, 3)])
def test_labels_on_the_map_do_not_overlap_and_stay_inside(web, size):
    titles = load_msweb().item_titles
    figure = Figure(figsize=size)
    ax = plotting.plot_item_map(web, titles, highlight=[3, 10], ax=figure.add_subplot())
    render(ax)
    assert 5 <= len(ax.texts) <= 40
    assert not overlaps(ax.texts)
    frame = ax.get_window_extent()
    for box in boxes_of(ax.texts):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1


def test_highlighted_items_are_labelled_first_then_the_most_popular(web):
    titles = load_msweb().item_titles
    ax = plotting.plot_item_map(web, titles, highlight=[200], max_labels=3)
    most = np.argsort(-np.bincount(load_msweb().interactions.indices, minlength=285), kind="stable")
    assert written(ax.texts)[:2] == [titles[200], titles[most[0]]]
    assert ax.texts[0].get_fontweight() == "bold"
    assert len(ax.collections[1].get_offsets()) == 1


def test_highlighted_items_in_one_spot_are_all_labelled(model):
    crowded = copy.deepcopy(model)
    factors = model.item_factors.copy()
    factors[:12] = factors[0]
    crowded.item_factors = factors
    ax = plotting.plot_item_map(crowded, NAMES, highlight=range(12), max_labels=12)
    render(ax)
    assert sorted(written(ax.texts)) == sorted(NAMES[:12])
    assert not overlaps(ax.texts)
    assert any(text.arrow_patch is not None for text in ax.texts)


def test_items_without_factors_are_left_out_by_default(model):
    sparse_model = copy.deepcopy(model)
    factors = model.item_factors.copy()
    factors[:5] = 0
    sparse_model.item_factors = factors
    assert len(dots(plotting.plot_item_map(sparse_model))) == 35
    assert len(dots(plotting.plot_item_map(sparse_model, items=range(10)))) == 10


def test_a_map_without_labels_has_only_dots(model):
    ax = plotting.plot_item_map(model, max_labels=0)
    render(ax)
    assert not ax.texts


def test_dollars_in_names_are_literal_and_long_names_are_truncated(model):
    names = ["$9.99 and $\\frac", *("a very long name of an item " * 3 for _ in range(39))]
    for ax in (
        plotting.plot_item_map(model, names, highlight=0),
        plotting.plot_factors(model, names=names),
        plotting.plot_predictions(model, item_names=names, items=[0, 1]),
    ):
        render(ax)
        shown = written([*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()])
        assert max(map(len, shown)) <= 32
        assert "$9.99 and $\\frac" in shown or ax.get_title().startswith("item factors")


# All plots

DRAW = {
    "history": lambda model, ax=None: plotting.plot_history(model, ax=ax),
    "factors": lambda model, ax=None: plotting.plot_factors(model, ax=ax),
    "predictions": lambda model, ax=None: plotting.plot_predictions(model, ax=ax),
    "item_map": lambda model, ax=None: plotting.plot_item_map(model, ax=ax),
}


@pytest.mark.nightly
@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_given_axes_are_used_and_pyplot_is_not(model, draw):
    figure = Figure(figsize=(8, 4))
    parts = figure.subfigures(1, 2)
    for ax in (figure.add_subplot(), parts[1].add_subplot()):
        assert draw(model, ax) is ax
        render(ax)
    assert not pyplot.get_fignums()


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_without_axes_a_new_pyplot_figure_is_made(model, draw):
    other = pyplot.figure().add_subplot()
    ax = draw(model)
    assert pyplot.gcf() is ax.figure is not other.figure
    assert not other.has_data()


@pytest.mark.nightly
@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_equal_models_give_equal_pixels(model, draw):
    np.testing.assert_array_equal(render(draw(model)), render(draw(copy.deepcopy(model))))


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_anything_but_a_fitted_model_is_rejected(model, draw):
    with pytest.raises(NotFittedError, match="this ImplicitALS is not fitted yet: call fit"):
        draw(ImplicitALS())
    with pytest.raises(TypeError, match="model must be an alternant model, got int: pass the fitted model itself"):
        draw(3)
    with pytest.raises(TypeError, match=r"ax must be a matplotlib Axes or None, got list: pass one"):
        draw(model, [1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, ax: plotting.plot_history([], ax=ax), ValueError, "models must hold at least one model, got none"),
        (
            lambda m, ax: plotting.plot_history([m, Popularity().fit(DATA)], ax=ax),
            ValueError,
            "models must have a history_ to plot, got Popularity, which is not fitted by iterations: leave it out",
        ),
        (
            lambda m, ax: plotting.plot_history(m, keys="rmse", ax=ax),
            ValueError,
            r"keys must be among 'objective', .* \(the keys of history_\), got 'rmse'",
        ),
        (lambda m, ax: plotting.plot_history(m, keys=[], ax=ax), ValueError, "keys must be among .*, got none"),
        (
            lambda m, ax: plotting.plot_history([m, with_history(m, loss=[1.0])], ax=ax),
            ValueError,
            r"keys must hold one of loss \(the history_ of ImplicitALS 2\), got .'objective'.",
        ),
        (
            lambda m, ax: plotting.plot_history(with_history(m, a=[1e5], b=[1.0], c=[1e-3]), keys="abc", ax=ax),
            ValueError,
            "keys must be among 'a', 'b', 'c' .*, got 'abc'",
        ),
        (
            lambda m, ax: plotting.plot_history(with_history(m, a=[1e5], b=[1.0], c=[1e-3]), keys=list("abc"), ax=ax),
            ValueError,
            r"keys must fit on two scales, got a \(about 1e\+05\), b \(about 1\), c \(about 0.001\): plot fewer",
        ),
        (
            lambda m, ax: plotting.plot_history([m, m], labels=["one"], ax=ax),
            ValueError,
            "labels must be 2 different names, one per model, got .'one'.",
        ),
        (
            lambda m, ax: plotting.plot_history([m, m], labels=["one", "one"], ax=ax),
            ValueError,
            "labels must be 2 different names",
        ),
        (
            lambda m, ax: plotting.plot_history({"one": m}, labels=["one"], ax=ax),
            ValueError,
            "labels must be None if models is a dict",
        ),
        (
            lambda m, ax: plotting.plot_history(m, x="time", ax=ax),
            ValueError,
            "x must be one of 'iteration', 'seconds', got 'time'",
        ),
        (
            lambda m, ax: plotting.plot_factors(m, side="item", ax=ax),
            ValueError,
            "side must be one of 'items', 'users', got 'item'",
        ),
        (
            lambda m, ax: plotting.plot_factors(m, rows=[40], ax=ax),
            IndexError,
            r"rows must lie between 0 and 39 \(the model knows 40 items\), got 40",
        ),
        (lambda m, ax: plotting.plot_factors(m, rows=[], ax=ax), ValueError, "rows must be a list of at least one"),
        (lambda m, ax: plotting.plot_factors(m, rows=[[1]], ax=ax), ValueError, "rows must be a list"),
        (
            lambda m, ax: plotting.plot_factors(m, rows=[0, 1, 2], names=["a", "b", "c"], ax=ax),
            ValueError,
            "names must have length 40, one name per item of the model, got 3: pass them all",
        ),
        (lambda m, ax: plotting.plot_factors(m, names="abc", ax=ax), TypeError, "names must be a sequence of names"),
        (
            lambda m, ax: plotting.plot_predictions(m, DATA.T, ax=ax),
            ValueError,
            r"truth must have .* \(60, 40\), got \(40, 60\): it looks transposed; pass truth.T",
        ),
        (lambda m, ax: plotting.plot_predictions(m, [["a"]], ax=ax), TypeError, "truth must be a table of numbers"),
        (lambda m, ax: plotting.plot_predictions(m, users=[60], ax=ax), IndexError, "users must lie between 0 and 59"),
        (lambda m, ax: plotting.plot_predictions(m, items=[-1], ax=ax), IndexError, "items must lie between 0 and 39"),
        (
            lambda m, ax: plotting.plot_predictions(m, user_names=["a"], ax=ax),
            ValueError,
            "user_names must have length 60, one name per user of the model, got 1",
        ),
        (
            lambda m, ax: plotting.plot_predictions(m, color="red", ax=ax),
            ValueError,
            "color must be one of 'error', 'prediction', got 'red'",
        ),
        (
            lambda m, ax: plotting.plot_item_map(Popularity().fit(DATA), ax=ax),
            ValueError,
            "an item map needs a model with at least 2 factors, got Popularity with 1",
        ),
        (lambda m, ax: plotting.plot_item_map(m, items=[1, 2], ax=ax), ValueError, "an item map needs at least 3"),
        (
            lambda m, ax: plotting.plot_item_map(m, items=[1, 2, 3], highlight=4, ax=ax),
            ValueError,
            "highlight must be among the items shown, got 4: add it to items",
        ),
        (lambda m, ax: plotting.plot_item_map(m, highlight=[99], ax=ax), IndexError, "highlight must lie between"),
        (lambda m, ax: plotting.plot_item_map(m, NAMES[:39], ax=ax), ValueError, "names must have length 40.* got 39"),
        (
            lambda m, ax: plotting.plot_item_map(m, method="tsne", ax=ax),
            ValueError,
            "method must be one of 'pca', got 'tsne'",
        ),
        (lambda m, ax: plotting.plot_item_map(m, max_labels=-1, ax=ax), ValueError, "max_labels must be at least 0"),
    ],
)
def test_invalid_input_is_rejected_and_nothing_is_drawn(model, call, error, message):
    ax = Figure().add_subplot()
    before = len(ax.get_children())
    for target in (ax, None):
        with pytest.raises(error, match="^" + message):
            call(model, target)
    assert len(ax.get_children()) == before
    assert not ax.has_data()
    assert not pyplot.get_fignums()


def test_a_table_needs_truth_if_the_model_holds_no_interactions(model, tmp_path):
    model.save(tmp_path / "model.safetensors", interactions=False)
    bare = ImplicitALS.load(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="truth is required, since the model does not hold the interactions"):
        plotting.plot_predictions(bare)
    assert plotting.plot_predictions(bare, DATA).texts


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_without_matplotlib_the_error_says_what_to_install(model, draw, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs matplotlib, .*: pip install 'alternant\[plot\]'$"):
        draw(model)


def test_importing_plotting_does_not_import_matplotlib():
    code = "import sys, alternant, alternant.plotting; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
