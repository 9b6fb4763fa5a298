"""What objects print and show in notebooks: the facts, every text escaped, nothing too long."""

import gc
import logging
import re
import sys
import types
import warnings
import weakref
from html.parser import HTMLParser

import numpy as np
import pytest
from every_model import every_model, feedback, name_of

from alternant import BiasedMF, Events, Features, ImplicitALS, Interactions, Popularity
from alternant._utils.display import Curve, Table
from alternant._utils.progress import progress_bar
from alternant.evaluation import compare_lists, evaluate, leave_one_out, random_split

EVIL = "<script>alert('x')</script>"
ESCAPED = "&lt;script&gt;"
rng = np.random.default_rng(0)
USERS, ITEMS = rng.integers(0, 40, 400), rng.integers(0, 30, 400)
UTILITY = rng.standard_normal((40, 30))
KNOWN = rng.random((40, 30)) < 0.4


class Balanced(HTMLParser):
    """Fails for tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        assert tag == "polyline"

    def handle_data(self, data):
        self.texts.append(data)


def shown(value):
    """The HTML of an object, which is balanced and without scripts."""
    html = value._repr_html_()
    Balanced(html)
    assert not re.search(r"<(script|style|img)|\son\w+=|javascript:|#[0-9a-f]{3,6}\b|(?<!-)color:", html)
    return html


def evil_interactions():
    return Interactions.from_arrays([f"{EVIL}{user}" for user in USERS], [f"{EVIL}{item}" for item in ITEMS])


@pytest.mark.parametrize("model", every_model(), ids=name_of)
def test_every_model_shows_its_parameters_data_and_history(model):
    before = str(model)
    assert "none: not fitted yet" in before
    shown(model)
    model.fit(feedback(UTILITY, KNOWN, model.traits.feedback))
    text = str(model)
    assert text.splitlines()[0] == name_of(model)
    assert f"40 users x 30 items, {KNOWN.sum()} interactions" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    html = shown(model)
    for name, value in model.get_params().items():
        assert f">{name} *<" in html or f">{name}<" in html, value
    assert ("<polyline" in html) == hasattr(model, "history_")


def test_changed_parameters_are_marked_and_chosen_ones_are_told():
    model = ImplicitALS(factors=4, iterations=2).fit(feedback(UTILITY, KNOWN, "implicit"))
    html = shown(model)
    assert {name for name in model.get_params() if f">{name} *<" in html} == {"factors", "iterations"}
    assert f"unobserved_weight={model.unobserved_weight_:.6g}" in str(model)


@pytest.mark.parametrize("model", every_model(), ids=name_of)
def test_every_model_remembers_its_evaluation_but_not_its_former_factors(model):
    train, test = random_split(feedback(UTILITY, KNOWN, model.traits.feedback), 0.3, random_state=0)
    evaluate(model.fit(train), test, k=5)
    assert "ndcg@5" in str(model)
    factors = weakref.ref(model.item_factors)
    model.fit(train)
    gc.collect()
    assert "ndcg@5" not in str(model)
    assert factors() is None


def test_quality_is_that_of_the_last_evaluation_until_the_factors_change():
    train, test = leave_one_out(feedback(np.abs(UTILITY), KNOWN, "implicit"), random_state=0)
    model = Popularity().fit(train)
    assert "quality" not in str(model)
    result = evaluate(model, test, k=(5, 10))
    assert f"ndcg@5 {result.means['ndcg@5']:.4f}" in str(model)
    model.fit(train)
    assert "quality" not in str(model)
    watched = BiasedMF(factors=2, epochs=2, validation_fraction=0.2).fit(feedback(UTILITY, KNOWN, "ratings"))
    assert f"validation rmse {watched.history_['validation_rmse'][-1]:.4f}" in str(watched)


def test_parameters_set_after_the_fit_are_told_from_those_of_the_fit():
    model = BiasedMF(factors=2, epochs=2).fit(feedback(UTILITY, KNOWN, "ratings"))
    assert "fitted with" not in str(model)
    model.set_params(factors=7)
    assert re.search(r"fitted with +factors=2\n", str(model))
    assert "fitted with" not in str(model.fit(feedback(UTILITY, KNOWN, "ratings")))


def test_ids_and_titles_are_escaped():
    data = evil_interactions()
    model = Popularity().fit(data)
    events = Events.from_arrays([EVIL] * 3, [1, 2, 3], [EVIL] * 3)
    features = Features.from_arrays([1, 2], {EVIL: [EVIL, EVIL], "tags": [[EVIL], [EVIL]]})
    lists = compare_lists([model], data.user_ids[0], 3, titles=dict.fromkeys(data.item_ids, EVIL))
    for value in (data, events, features, lists):
        assert ESCAPED in shown(value)


def test_interactions_show_their_density_values_and_first_pairs():
    data = Interactions.from_arrays(
        [3, 1, 1], ["b", "a", "c"], [1, 5, 2], np.array(["2024-01-02", "2024-01-01", "2024-03-01"], "M8[s]")
    )
    assert str(data).splitlines() == [
        "Interactions",
        "shape         2 users x 3 items",
        "pairs         3 (50 % of all)",
        "values        whole numbers 1 to 5, merged by sum",
        "times         2024-01-01 00:00:00 to 2024-03-01 00:00:00",
        "",
        "user  item  value  time",
        "   1  a         5  2024-01-01 00:00:00",
        "   1  c         2  2024-03-01 00:00:00",
        "   3  b         1  2024-01-02 00:00:00",
    ]
    many = Interactions.from_arrays(USERS, ITEMS)
    assert "each row counts 1" in str(many)
    assert str(many).endswith(f"and {many.nnz - 5} more pairs")


def test_the_first_pairs_are_those_of_the_first_users_with_any():
    data = Interactions.from_arrays([1, 9], [5, 7]).reindex(users=np.arange(10))
    assert [line.split()[:2] for line in str(data).splitlines()[-2:]] == [["1", "5"], ["9", "7"]]
    empty = data.reindex(users=[2, 3])
    assert "pairs         0 (0 % of all)" in str(empty)
    shown(empty)


def test_events_and_features_show_their_kinds():
    events = Events.from_arrays([1, 1, 2], [5, 5, 6], ["view", "buy", "view"], [1.5, 1, 2])
    assert "kinds         buy 1, view 2" in str(events)
    assert "events        3 of 2 pairs (50 % of all)" in str(events)
    assert "values        numbers 1 to 2" in str(events)
    features = Features.from_arrays([1, 2], {"year": [1999.0, np.nan], "genre": ["a|b", "b"]})
    text = str(features)
    assert re.search(r"^genre +tags +2 +0$", text, re.MULTILINE)
    assert re.search(r"^ *1 +1999 +a, b$", text, re.MULTILINE)
    assert re.search(r"^ *2 +- +b$", text, re.MULTILINE)


def test_reports_are_short_in_both_forms():
    train, test = leave_one_out(feedback(np.abs(UTILITY), KNOWN, "implicit"), random_state=0)
    result = evaluate(Popularity().fit(train), test)
    assert len(repr(result)) < 120
    assert f"{result.means['ndcg@20']:.4f}" in shown(result)


def test_only_the_first_of_many_values_are_read():
    many = Interactions.from_arrays(np.repeat(np.arange(1100), 1000), np.tile(np.arange(1000), 1100), np.arange(1.1e6))
    assert "whole numbers 0 to 999999 (the first 1,000,000), merged by sum" in str(many)


def test_what_is_long_is_cut():
    data = Interactions.from_arrays(["u" * 10_000], ["line\nbreak\x1b[31m" * 1000])
    assert len(str(data)) < 500
    assert len(shown(data)) < 2000
    assert "\x1b" not in str(data)
    assert len(Curve("objective", list(np.linspace(9, 1, 100_000))).html()) < 4000
    assert Curve("objective", [1.0]).html() == ""
    Balanced(Curve("objective", [3.0, np.nan, np.inf, 1.0]).html())
    assert Table(("a", "b"), []).lines() == ["a  b"]


def test_a_fit_and_an_evaluation_are_logged(caplog):
    train, test = leave_one_out(feedback(np.abs(UTILITY), KNOWN, "implicit"), random_state=0)
    with caplog.at_level(logging.DEBUG, "alternant"):
        evaluate(ImplicitALS(factors=2, iterations=2).fit(train), test, k=5, metrics="ndcg")
    said = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert [(name, level) for name, level, _ in said] == [
        ("alternant.fit", "DEBUG"), ("alternant.fit", "DEBUG"), ("alternant.fit", "INFO"),
        ("alternant.evaluation", "INFO"),
    ]  # fmt: skip
    assert said[1][2].startswith("ImplicitALS: it 2, objective ")
    assert said[2][2].startswith("ImplicitALS: fitted on 40 users x 30 items, ")
    assert said[3][2].startswith("ImplicitALS: Evaluation(ndcg@5=")


def test_the_bar_in_a_notebook_is_that_of_tqdm_auto(monkeypatch):
    made = []
    kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    fake = types.SimpleNamespace(tqdm=lambda **options: made.append(options) or types.SimpleNamespace(close=int))
    monkeypatch.setitem(sys.modules, "tqdm.auto", fake)
    with warnings.catch_warnings(), progress_bar(3, None, desc="x"):
        pass
    assert made == [{"total": 3, "desc": "x"}]
    kernel.config.clear()  # IPython in a terminal, which is none here
    with progress_bar(3, None):
        pass
    assert len(made) == 1
