"""How accuracy.py chooses settings and what it reports, on planted tastes."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS

pytest.importorskip("search", reason="the benchmarks are not beside the tests (a wheel's test run)")

import accuracy
from accuracy_models import OURS, Contender, Range, relative
from accuracy_report import Published, draw, table
from search import climb


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


def commanded(monkeypatch, path, *more):
    """Run the command on a folder; return the rows of its table by model and factors."""
    output = path.parent / "accuracy.json"
    few = ["--factors", "4", "8", "--trials", "4", "--climb", "2", "--users", "60", "--threads", "1"]
    monkeypatch.setattr("sys.argv", ["accuracy.py", str(path), *few, "--json", str(output), *more])
    assert accuracy.main() == 0
    rows = json.loads(output.read_text())["data"][path.name]
    return {(row["model"], row.get("factors")): row for row in rows}


def test_the_test_part_changes_no_choice(monkeypatch, folder):
    honest = commanded(monkeypatch, folder)
    train, test = (sp.load_npz(folder / f"{part}.npz") for part in ("train", "test"))
    poison = np.roll(np.asarray(planted(seed=2).todense()), 1, axis=1) * (train.toarray() == 0)
    sp.save_npz(folder / "test.npz", sp.csr_array(poison))
    poisoned = commanded(monkeypatch, folder)
    for factors in (4, 8):
        ours, other = honest["alternant", factors], poisoned["alternant", factors]
        assert ours["setting"] == other["setting"]
        assert ours["params"] == other["params"]
        assert ours["validation"] == other["validation"]
        assert ours["ndcg"] > other["ndcg"] + 0.1
    assert test.nnz


def test_what_is_chosen_beats_popularity_and_is_in_the_table(monkeypatch, folder, capsys):
    rows = commanded(monkeypatch, folder)
    assert list(rows) == [("Popularity", None), *((model, f) for model in ("alternant, defaults", "alternant")
                                                  for f in (4, 8))]  # fmt: skip
    for factors in (4, 8):
        assert rows["alternant", factors]["ndcg"] > 1.5 * rows["Popularity", None]["ndcg"]
    out = capsys.readouterr().out
    assert f"| alternant | 8 | {rows['alternant', 8]['recall']:.4f} |" in out
    assert "evaluated on test once" in out


def test_settings_of_an_earlier_run_are_taken_as_they_are(monkeypatch, folder):
    first = commanded(monkeypatch, folder)
    kept = folder.parent / "kept.json"
    (folder.parent / "accuracy.json").rename(kept)

    def fails(*_):
        raise AssertionError("nothing is to be chosen")

    monkeypatch.setattr(accuracy.Chooser, "score", fails)
    again = commanded(monkeypatch, folder, "--settings", str(kept))
    for row in (*first.values(), *again.values()):
        del row["seconds"]
    assert again == first


def test_a_library_that_is_not_there_is_a_row(monkeypatch, folder, capsys):
    absent = Contender("absent", "no-such-package", None, {}, {})
    monkeypatch.setattr(accuracy, "PEERS", (absent,))
    assert commanded(monkeypatch, folder, "--peers")["absent", None]["skipped"] == "not installed"
    assert "| absent |  | | | | skipped: not installed |" in capsys.readouterr().out


def test_the_part_that_chooses_is_taken_out_of_train():
    train = planted()
    split = accuracy.Split.of(train, 50)
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

    def moved(setting, name, direction):
        return setting | {name: setting[name] + direction}

    assert climb(score, moved, ["x", "y"], {"x": 0, "y": 0}, 100) == {"x": 3, "y": -2}
    assert tried[0] == {"x": 0, "y": 0}
    tried.clear()
    climb(score, moved, ["x", "y"], {"x": 0, "y": 0}, 4)
    assert len(tried) == 4


def test_a_range_keeps_its_bounds():
    assert Range(1, 100, 2).moved(8, 1) == 16
    assert Range(1, 100, 2).moved(80, 1) == 100
    assert Range(0, 0.5, 0.1, logarithmic=False).moved(0.05, -1) == 0
    drawn = OURS.draw(np.random.default_rng(0))
    assert all(one.low <= drawn[name] <= one.high for name, one in OURS.space.items())


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
    text = table([row], published)
    assert text.index("EASE") < text.index("SimpleX") < text.index("| alternant | 8 | 0.2000 | 0.1000 | 1.0 |")
