"""The tutorial runs: each example on a small file of its format, with tastes planted in it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="examples are not beside the tests (a wheel's test run)")


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def planted():
    """Who meets what, and how they like it (-1 to 1): people and things are of one of two kinds."""
    rng = np.random.default_rng(0)
    people, things = rng.integers(0, 2, 60), rng.integers(0, 2, 40)
    met = [(int(u), int(i)) for u in range(60) for i in rng.permutation(40)[:15]
           if things[i] == people[u] or rng.random() < 0.3]  # fmt: skip
    return [(u, i, (1 if things[i] == people[u] else -1) * rng.random(), int(t))
            for (u, i), t in zip(met, rng.permutation(len(met)), strict=True)]  # fmt: skip


def test_movie_ratings(tmp_path, capsys, planted):
    pytest.importorskip("pyarrow", reason="tables in files are read by pyarrow")
    rows = [f"{u + 1},{i + 1},{round(2 * (2.75 + 2.25 * liked)) / 2},{time}" for u, i, liked, time in planted]
    (tmp_path / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows, ""]))
    movies = [f'{i + 1},"Movie, The ({1950 + i})",Drama' for i in range(40)]
    (tmp_path / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies, ""]), encoding="utf-8")
    lists = tmp_path / "lists.csv"
    load("movie_ratings").main(str(tmp_path / "ratings.csv"), str(tmp_path / "movies.csv"), str(lists))
    out = capsys.readouterr().out
    assert "BiasedMF, errors in stars" in out
    assert "better than popularity by" in out
    written = lists.read_text(encoding="utf-8").splitlines()
    assert written[0] == "user,item,score,rank,title"
    assert len(written) == 1 + 60 * 10
    assert '"Movie, The (' in written[1]


def test_play_hours(tmp_path, capsys, planted):
    pytest.importorskip("pyarrow", reason="tables in files are read by pyarrow")
    rows = [f"{u + 1}\t{i + 1}\t{10 ** (2 * liked):.1f}" for u, i, liked, _ in planted if liked > 0]
    (tmp_path / "play.dat").write_text("\n".join(["User_ID\tGame_ID\tHours", *rows, rows[0], ""]))
    names = [f"{i + 1}\tGame no. {i + 1}" for i in range(40)]
    (tmp_path / "names.dat").write_text("\n".join(["Game_ID\tGame Name", *names]))
    load("play_hours").main(*(str(tmp_path / name) for name in ("play.dat", "names.dat", "games.safetensors")))
    out = capsys.readouterr().out
    assert "1 rows, merged by sum" in out
    assert "user 1 might play:\n  Game no." in out
    assert "the first because of Game no." in out
    assert out.count("\n  Game no.") == 5 + 3


def test_likes_one_by_one(capsys, planted):
    events = sorted(planted, key=lambda event: event[3])
    model = load("likes_one_by_one").main(f"user {u},joke {i},{int(liked > 0)}\n" for u, i, liked, _ in events)
    out = capsys.readouterr().out
    assert "60 users, 40 items" in out
    assert model.user_ids_[0] == f"user {events[0][0]}"
    assert "next for user" in out


def test_views_and_purchases(tmp_path, capsys, planted):
    pytest.importorskip("pyarrow", reason="tables in files are read by pyarrow")
    pytest.importorskip("optuna", reason="tune needs Optuna")
    rows = [f"{u + 1},game {i + 1},{'dislike' if liked < 0 else 'purchase' if liked > 0.5 else 'view'},{3600 * time}"
            for u, i, liked, time in planted]  # fmt: skip
    (tmp_path / "events.csv").write_text("\n".join(["user,item,kind,time", *rows, ""]))
    load("views_and_purchases").main(str(tmp_path / "events.csv"), str(tmp_path / "model.safetensors"), budget=2)
    out = capsys.readouterr().out
    assert f"{len(rows)} events" in out
    assert "with weights, it is higher by 0." in out
    assert "half_life" in out
    assert "user 1 might buy:\n  game " in out
