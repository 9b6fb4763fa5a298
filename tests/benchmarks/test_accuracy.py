"""How settings are searched, chosen and reported, on planted tastes."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import Blend, ImplicitALS
from alternant.evaluation import evaluate

pytest.importorskip("benchmarks.accuracy", reason="the benchmarks are not beside the tests (a wheel's test run)")

from benchmarks.accuracy import choose_defaults, nightly
from benchmarks.accuracy import table as accuracy
from benchmarks.accuracy.contenders import OURS, Contender, relative
from benchmarks.accuracy.report import Published, draw, table
from benchmarks.accuracy.search import Choice, Range, climb, near, search
from benchmarks.accuracy.search import draw as drawn_from
from benchmarks.peers.libraries import Library


def planted(seed=0, users=120, items=60):
    """Three groups of users, each of which likes a third of the items."""
    rng = np.random.default_rng(seed)
    alike = np.arange(users)[:, None] % 3 == np.arange(items) % 3
    liked = rng.random((users, items)) < np.where(alike, 0.5, 0.05)
    return sp.csr_array(liked.astype(np.float32))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "planted"
    path.mkdir()
    liked = planted().tocoo()
    held = np.random.default_rng(1).random(liked.nnz) < 0.2
    for name, part in (("train", ~held), ("test", held)):
        matrix = sp.csr_array((liked.data[part], (liked.row[part], liked.col[part])), shape=liked.shape)
        sp.save_npz(path / f"{name}.npz", matrix)
    return path


def commanded(path, *more):
    """Run the command on a folder; return the rows of its table by model and factors."""
    output = path.parent / "accuracy.json"
    few = ["--factors", "4", "8", "--trials", "4", "--climb", "2", "--users", "60", "--threads", "1"]
    assert accuracy.main([str(path), *few, "--json", str(output), *more]) == 0
    rows = json.loads(output.read_text())["data"][path.name]
    return {(row["model"], row.get("factors")): row for row in rows}


def test_the_test_part_changes_no_choice(folder):
    honest = commanded(folder)
    train, test = (sp.load_npz(folder / f"{part}.npz") for part in ("train", "test"))
    poison = np.roll(np.asarray(planted(seed=2).todense()), 1, axis=1) * (train.toarray() == 0)
    sp.save_npz(folder / "test.npz", sp.csr_array(poison))
    poisoned = commanded(folder)
    for factors in (4, 8):
        ours, other = honest["alternant", factors], poisoned["alternant", factors]
        assert ours["setting"] == other["setting"]
        assert ours["params"] == other["params"]
        assert ours["validation"] == other["validation"]
        assert ours["ndcg"] > other["ndcg"] + 0.1
    assert test.nnz


def test_what_is_chosen_beats_popularity_and_is_in_the_table(folder, capsys):
    rows = commanded(folder)
    models = ("alternant, defaults", "alternant, Blend", "alternant")
    assert list(rows) == [("Popularity", None), ("EASE", None), *((model, f) for model in models for f in (4, 8))]
    for factors in (4, 8):
        assert rows["alternant", factors]["ndcg"] > 1.5 * rows["Popularity", None]["ndcg"]
    out = capsys.readouterr().out
    assert f"| alternant | 8 | {rows['alternant', 8]['recall']:.4f} |" in out
    assert "evaluated on test once" in out


def test_settings_of_an_earlier_run_are_taken_as_they_are(monkeypatch, folder):
    first = commanded(folder)
    kept = folder.parent / "kept.json"
    (folder.parent / "accuracy.json").rename(kept)

    def fails(*_):
        raise AssertionError("nothing is to be chosen")

    monkeypatch.setattr(accuracy.Chooser, "score", fails)
    again = commanded(folder, "--settings", str(kept))
    for row in (*first.values(), *again.values()):
        del row["seconds"]
    assert again == first


def test_two_choices_are_blended_in_equal_parts(monkeypatch, folder):
    commanded(folder, "--hold-outs", "random")
    kept = folder.parent / "kept.json"
    (folder.parent / "accuracy.json").rename(kept)
    theirs = {row["factors"]: row["setting"] for row in json.loads(kept.read_text())["data"]["planted"]
              if row["model"] == "alternant"}  # fmt: skip
    blended = []

    def noted(judge, factors, settings):
        blended.append((factors, settings))
        return original(judge, factors, settings)

    original = accuracy.Judge.blend_of
    monkeypatch.setattr(accuracy.Judge, "blend_of", noted)
    rows = commanded(folder, "--hold-outs", "blocked", "--blend", str(kept))
    assert blended == [(f, [rows["alternant", f]["setting"], theirs[f]]) for f in (4, 8)]
    assert blended[0][1][0] != blended[0][1][1]
    train, test = (accuracy.read(folder, part) for part in ("train", "test"))
    fitted = []
    for setting in blended[0][1]:
        params = relative(train, {name: value for name, value in setting.items() if name != "iterations"})
        fitted.append(ImplicitALS(factors=4, iterations=setting["iterations"], random_state=0, **params))
    expected = evaluate(Blend(fitted, weights=[1, 1], random_state=0).fit(train), test, k=20).means["ndcg@20"]
    assert rows["alternant, both choices", 4]["ndcg"] == pytest.approx(expected, rel=1e-3)


def test_a_file_to_blend_with_needs_settings(folder, capsys):
    kept = folder.parent / "kept.json"
    kept.write_text('{"data": {}}')
    rows = commanded(folder, "--blend", str(kept))
    assert rows["alternant, both choices", 8]["skipped"].endswith("no settings for it")
    kept.write_text("{}")
    with pytest.raises(SystemExit, match="holds no settings"):
        commanded(folder, "--blend", str(kept))
    with pytest.raises(SystemExit):
        commanded(folder, "--defaults", "--blend", str(kept))
    assert "leave out --settings and --blend" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "which"), [("random", 0), ("blocked", 1)])
def test_one_hold_out_is_one_of_both(name, which):
    train = planted()
    both, (one,) = accuracy.splits(train, 50), accuracy.splits(train, 50, name)
    assert not (both[which].held != one.held).nnz


def test_defaults_are_compared_on_the_test_part_of_any_folder(folder, capsys):
    where = ["--folder", str(folder.parent), "--factors", "4", "--trials", "2"]
    counts = sp.csr_array(sp.load_npz(folder / "train.npz"))
    counts.data[::2] = 3  # as in `accuracy`, all interactions count once
    sp.save_npz(folder / "train.npz", counts)
    assert choose_defaults.main(["implicit", "--data", "planted", *where]) == 0
    train, test = (accuracy.read(folder, part) for part in ("train", "test"))
    expected = evaluate(ImplicitALS(factors=4, random_state=0).fit(train), test, k=20).means["ndcg@20"]
    assert f" | {expected:.4f} | " in capsys.readouterr().out
    (folder / "test.npz").unlink()
    with pytest.raises(SystemExit):
        choose_defaults.main(["implicit", "--data", "planted", *where])
    assert "implicit takes no --data planted: choose from msweb" in capsys.readouterr().err


def test_a_library_that_is_not_there_is_a_row(monkeypatch, folder, capsys):
    library = Library()
    library.name, library.package = "absent", "no-such-package"
    absent = Contender(library, {}, {})
    monkeypatch.setattr(accuracy, "PEERS", (absent,))
    assert commanded(folder, "--peers")["absent", None]["skipped"] == "not installed"
    assert "| absent |  |  |  |  | skipped: not installed |" in capsys.readouterr().out


def test_the_parts_that_choose_are_taken_out_of_train():
    train = planted()
    parts = accuracy.splits(train, 50)
    assert len(parts) == 2
    assert (parts[0].users == parts[1].users).all()
    assert (parts[0].held != parts[1].held).nnz
    sizes = np.diff(parts[1].held.indptr)  # the second takes the same share of each user
    assert (sizes == np.maximum(1, np.diff(train.indptr)[parts[1].users] // 5)).all()
    for split in parts:
        whole = split.train.toarray()
        assert len(split.users) == split.held.shape[0] == 50
        assert 0.1 < split.held.nnz / train[split.users].nnz < 0.3
        whole[split.users] += split.held.toarray()
        np.testing.assert_array_equal(whole, train.toarray())


def test_settings_are_multiples_of_what_auto_chooses():
    train = planted()
    setting = {"unobserved_weight": 1.0, "regularization": 1.0, "a": 0.3, "b": 0.1, "s": 0.2}
    auto = ImplicitALS(factors=4, degree_normalization=(0.3, 0.1), popularity_exponent=0.2, random_state=0).fit(train)
    params = relative(train, setting)
    assert params["unobserved_weight"] == auto.unobserved_weight_
    assert params["regularization"] == auto.regularization_
    doubled = relative(train, setting | {"regularization": 2.0})
    assert doubled["regularization"] == tuple(2 * value for value in auto.regularization_)


def test_lists_leave_out_what_was_seen():
    scores = np.array([[3.0, 2.0, 1.0, *[0.0] * 30]], np.float32)
    first, second = (sp.csr_array(([1.0], ([0], [column])), shape=scores.shape) for column in (0, 1))
    assert accuracy.measure(np.ones((1, 1)), scores.T, first, second, 1) == (1.0, 1.0)
    assert accuracy.measure(np.ones((1, 1)), scores.T, first, first, 1) == (0.0, 0.0)


def test_climbing_finds_the_top_and_keeps_to_its_trials():
    tried = []

    def score(setting):
        tried.append(setting)
        return -abs(setting["x"] - 3) - abs(setting["y"] + 2)

    space = {name: Range(-9, 9, 1, logarithmic=False, whole=True) for name in "xy"}
    assert climb(score, space, {"x": 0, "y": 0}, 100) == {"x": 3, "y": -2}
    assert tried[0] == {"x": 0, "y": 0}
    tried.clear()
    climb(score, space, {"x": 0, "y": 0}, 4)
    assert len(tried) == 4


def test_a_range_keeps_its_bounds():
    assert Range(1, 100, 2).moved(8, 1) == 16
    assert Range(1, 100, 2).moved(80, 1) == 100
    assert Range(0, 0.5, 0.1, logarithmic=False).moved(0.05, -1) == 0
    drawn = drawn_from(OURS.space, np.random.default_rng(0))
    assert all(one.low <= drawn[name] <= one.high for name, one in OURS.space.items())


def test_a_choice_keeps_to_its_values():
    choice, rng = Choice((8, 16, 32)), np.random.default_rng(0)
    assert [choice.moved(16, steps) for steps in (-1, 1, 2)] == [8, 32, 32]
    assert {choice.draw(rng) for _ in range(50)} == {8, 16, 32}
    assert 30 < sum(choice.near(16, rng) == 16 for _ in range(50)) < 50


def test_the_search_comes_near_the_best_of_all_scores_together():
    space = {"x": Range(1e-3, 1e3, 2), "kind": Choice(("a", "b"))}

    def score(setting):
        return 1 / (1 + abs(np.log(setting.get("x", 900) / 5)) + (setting.get("kind") != "b"))

    settings, results = search(space, [score, lambda setting: 2 * score(setting)], 60)
    assert settings[0] == {}
    assert len(settings) == len(results) == 61
    best = settings[int(results[:, 0].argmax())]
    assert best["kind"] == "b"
    assert 3 < best["x"] < 8
    assert near(space, {}, np.random.default_rng(0)).keys() == space.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("no/such", "there is no folder 'no/such'"),
        (". --trials 1", "expected a whole number of at least 2, got '1'"),
        (". --peers spotify", "invalid choice: 'spotify'"),
        (". --json no/such/table.json", "to write 'table.json' to"),
        (". --settings no/such.json", "there is no file 'no/such.json'"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        accuracy.parse(arguments.split())
    assert said in capsys.readouterr().err


def test_a_folder_without_a_part_is_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match=r"^can't read train of"):
        accuracy.read(tmp_path, "train")


def test_the_picture_is_drawn_and_published_figures_are_sorted(tmp_path):
    pytest.importorskip("matplotlib")
    row = {"model": "alternant", "factors": 8, "seconds": 1.0, "recall": 0.2, "ndcg": 0.1}
    published = Published("SimpleX", 0.2, 0.15, "a paper"), Published("EASE", 0.1, 0.1, "a paper")
    draw({"planted": [row]}, {"planted": published}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    rows = table([row], published)
    assert [made[0] for made in rows] == ["EASE", "SimpleX", "alternant"]
    assert rows[-1][1:5] == ("8", "0.2000", "0.1000", "1.0")


def test_a_launch_brings_all_events_of_a_popular_item_in_one_night():
    rng = np.random.default_rng(0)
    pairs = np.unique(np.column_stack([rng.integers(0, 300, 4000), (40 * rng.random(4000) ** 2).astype(int)]), axis=0)
    matrix = sp.coo_array((np.ones(len(pairs)), pairs.T), shape=(300, 40))
    plain, launched = (nightly.Nights(matrix, None, 4, launch) for launch in (False, True))
    events = [launched.of(night) for night in range(1, 5)]
    before = np.unique(launched.until(1).tocoo().col)
    new = np.setdiff1d(events[1][1], before)
    counts = np.bincount(events[1][1])
    assert counts[new].max() > 50
    star = new[counts[new].argmax()]
    assert all((items != star).all() for night, (_, items, _) in enumerate(events) if night != 1)
    assert launched.until(4).sum() == plain.until(4).sum()
    assert [len(users) for users, _, _ in events][:1] == [int(0.01 * plain.until(4).sum())]
