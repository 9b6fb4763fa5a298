"""The comparison with other libraries, without any of them."""

import argparse
import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("benchmarks.peers", reason="the benchmarks are not beside the tests (a wheel's test run)")

from benchmarks.common import data
from benchmarks.common.results import header, line
from benchmarks.peers import compare, compat, lists, ratings, sgd, weighted
from benchmarks.peers.libraries import LIBRARIES, Alternant, Library, Observer, Problem, Steps
from benchmarks.peers.report import Measure, draw, table
from benchmarks.peers.runner import Entry, Interrupted, Outcome, Recorder, run_in_turn
from benchmarks.peers.weighted import objective, other_objective


def outcome(name, package="peer", seconds=(1.0, 3.0), values=(20.0, 10.0), **facts):
    entry = Entry(name, package, package, None, **facts)
    quality = {i: {"objective": value} for i, value in enumerate(values, 1)}
    return Outcome(entry, "1.0", rounds=[dict(enumerate(seconds, 1))], quality=quality)


def tabled(outcomes, measure):
    columns, rows = table(outcomes, [measure], "iteration")
    assert {len(row) for row in rows} == {len(columns)}
    return "\n".join([header(columns), *map(line, rows)])


def test_the_objective_is_the_sum_over_all_pairs():
    rng = np.random.default_rng(0)
    rows = sp.random_array((6, 5), density=0.4, format="csr", rng=rng)
    X, Y = rng.normal(size=(6, 3)), rng.normal(size=(5, 3))
    dense = rows.toarray()
    expected = np.sum((1 + dense) * ((dense > 0) - X @ Y.T) ** 2) + 0.3 * (np.sum(X**2) + np.sum(Y**2))
    assert objective(rows, X, Y, 0.3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("entry", [e for e in weighted.ENTRIES if e.ours], ids=lambda e: e.name)
def test_ours_passes_the_check_of_the_objective(entry):
    assert other_objective(1, entry) is None


def test_a_library_that_ends_elsewhere_is_found_out():
    def run(problem, recorder):
        recorder.note(1, lambda: problem.start)

    assert "does not minimise this objective" in other_objective(1, Entry("lazy", "peer", "peer", run))


def test_seconds_an_iteration_leave_the_first_out_and_seconds_to_a_quality_interpolate():
    run = outcome("peer", seconds=(5.0, 6.0), values=(3.0, 2.0))
    assert run.each == 1.0
    run.rounds = [{1: 5.0, 5: 9.0}]
    assert run.seconds_to("objective", 2.0, higher=False, tolerance=1e-6) == 6.0
    assert run.seconds_to("objective", 1.0, higher=False, tolerance=1e-6) is None
    assert run.seconds_to("objective", 2.5, higher=True, tolerance=1e-6) == 5.0


def test_a_library_that_can_not_stop_is_fitted_anew():
    fitted = []
    evaluated, timed = Recorder(lambda learned: {"objective": learned}), Recorder()
    for recorder in (evaluated, timed):
        recorder.refit(10, lambda n: fitted.append(n) or (lambda: n))
    assert fitted == [1, 2, 4, 8, 10, 1, 10]
    assert evaluated.quality[8] == {"objective": 8}
    assert not timed.quality


def test_what_fails_or_is_not_installed_is_a_row_of_the_table():
    def fails(problem, recorder):
        raise RuntimeError("no luck\nat all")

    def evaluate(entry, learned):
        raise AssertionError("nothing is learned")

    entries = [Entry("broken", "numpy", "numpy", fails), Entry("absent", "no-such-package", "x", fails)]
    outcomes = run_in_turn(entries, Problem(sp.csr_array((2, 2))), evaluate, 1, None, lambda entry: None)
    text = tabled(outcomes, Measure("objective", "objective", ".6g", 1e-6))
    assert "| RuntimeError: no luck |" in text
    assert "| not installed |" in text


def test_the_target_is_what_the_best_peer_reaches_with_its_defaults():
    runs = [outcome("ours", "alternant", values=(1.0,)), outcome("a", values=(9.0, 4.0)),
            outcome("b", values=(9.0, 2.0), defaults=False),
            outcome("c", values=(9.0, 5.0, 1.0), iterations=2)]  # fmt: skip
    measure = Measure("objective", "objective", ".6g", 1e-6)
    assert measure.target(runs) == 4.0
    assert Measure("objective", "objective", ".6g", 1e-6, higher=True).target(runs) == 5.0
    assert "not within 1" not in tabled(runs, measure)


def test_at_least_looks_at_the_fastest_peer_and_its_objective():
    ours, slow = outcome("ours", "alternant", (0.1, 1.1)), outcome("slow", seconds=(1.0, 9.0))
    fast = outcome("fast", seconds=(1.0, 4.0), values=(20.0, 9.0))
    assert weighted.missed([ours, slow], 8) == []
    assert "8.00 times as fast as slow" in weighted.missed([ours, slow], 9)[0]
    reasons = weighted.missed([ours, slow, fast], 2)
    assert reasons == ["after iteration 2, the objective is 10; fast's is 9"]
    assert weighted.missed([slow], 1) == ["alternant did not run"]


def test_options_of_alternant_are_literals_or_strings():
    options = compare.parse(
        weighted.TASK, ["--alternant-option", "max_cg_steps=3", "--alternant-option", "solver=cholesky"]
    )
    assert dict(options.alternant_option) == {"max_cg_steps": 3, "solver": "cholesky"}
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE"):
        compare.option("max_cg_steps")


def test_lists_are_left_out_where_that_is_asked_for(monkeypatch):
    rows = sp.csr_array(np.eye(3))
    problem = Problem(rows, rows, regularization=0.1)
    monkeypatch.setattr(weighted, "ndcg", lambda *_: 0.5)
    entry, learned = next(e for e in weighted.ENTRIES if e.ours), (np.ones((3, 2)), np.ones((3, 2)))
    both = weighted.evaluate(problem, True, entry, learned)
    assert both["ndcg"] == 0.5
    assert weighted.evaluate(problem, False, entry, learned) == {"objective": both["objective"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("ratings --data gowalla", "ratings takes no --data gowalla: choose from ml-latest-small, book-crossing"),
        ("ratings --data msweb", "choose from ml-latest-small, book-crossing, jester-1"),
        ("ratings --data jester-1", "needs --folder"),
        ("als --folder no/such", "there is no folder 'no/such'"),
        ("als --json no/such/table.json", "to write 'table.json' to"),
        ("als --json .", "'.' is a folder"),
        ("als --factors 0", "expected a whole number of at least 1, got '0'"),
        ("als --threads none", "expected a whole number of at least 1, got 'none'"),
        ("als --iterations 1", "expected a whole number of at least 2, got '1'"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_sentence(arguments, said, capsys):
    command, *options = arguments.split()
    with pytest.raises(SystemExit, match="2"):
        compare.parse({"als": weighted.TASK, "ratings": ratings.TASK}[command], options)
    assert said in capsys.readouterr().err


def test_a_picture_that_can_not_be_written_is_refused(capsys):
    pytest.importorskip("matplotlib")
    assert compare.parse(weighted.TASK, ["--picture", "a.png"]).picture.name == "a.png"
    with pytest.raises(SystemExit, match="2"):
        compare.parse(weighted.TASK, ["--picture", "a.xyz"])
    assert "'a.xyz' must end in one of " in capsys.readouterr().err


def test_data_that_are_not_there_are_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match=r"^can't read steam-200k: .*game_play\.dat"):
        data.load("steam-200k", tmp_path)


def commanded(entry, *more):
    task = replace(weighted.TASK, entries=[entry], check=lambda _threads, _entry: None)
    return compare.run(task, ["--shape", "suites-tiny", "--factors", "2", "--no-memory", *more])


def test_the_command_fails_where_alternant_does_not_run(capsys):
    def fails(problem, recorder):
        raise RuntimeError("no luck")

    assert commanded(Entry("ours", "alternant", "alternant", fails)) == 1
    assert "missed: ours did not run: RuntimeError: no luck" in capsys.readouterr().out
    assert commanded(Entry("peer", "numpy", "numpy", fails)) == 0


@pytest.mark.parametrize("whole", [0, 2])
def test_an_interrupted_command_prints_the_rounds_that_are_whole(whole, capsys, tmp_path):
    calls = []

    def run(problem, recorder):
        calls.append(1)
        for iteration in (1, 2):
            recorder.note(iteration, lambda: problem.start)
        if len(calls) == whole + 2:
            raise KeyboardInterrupt

    output = tmp_path / "table.json"
    assert commanded(Entry("peer", "numpy", "numpy", run), "--json", str(output)) == 130
    printed = capsys.readouterr()
    assert ("rounds: 2\n" in printed.out and "| peer |" in printed.out) is bool(whole)
    assert ("stopped before a round was whole" if not whole else "stopped after 2 of 5 rounds") in printed.err
    assert not output.exists()


def test_only_whole_rounds_are_kept_where_a_run_is_interrupted():
    def run(problem, recorder):
        recorder.note(1, lambda: None)

    def interrupted(problem, recorder, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    entries = [Entry("one", "numpy", "numpy", run), Entry("two", "numpy", "numpy", interrupted)]
    with pytest.raises(Interrupted) as caught:
        run_in_turn(entries, Problem(sp.csr_array((2, 2))), lambda *_: {}, 5, None, lambda entry: None)
    assert caught.value.rounds == 1
    assert [len(outcome.rounds) for outcome in caught.value.outcomes] == [1, 1]


def test_the_libraries_are_chosen_by_name():
    names = [entry.name for entry in compare.chosen(weighted.ENTRIES, ["alternant", "LensKit"])]
    assert names == ["alternant", "LensKit Cholesky"]
    with pytest.raises(SystemExit, match="no library is called 'spotify'"):
        compare.chosen(weighted.ENTRIES, ["spotify"])


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw([outcome("ours", "alternant"), outcome("peer")], Measure("objective", "objective", ".6g", 1e-6), "iteration",
         "a title", tmp_path / "picture.png")  # fmt: skip
    assert (tmp_path / "picture.png").stat().st_size > 10_000


TASKS = ("fit_weighted", "fit_als", "fit_ratings", "fit_sgd", "fit_pairwise", "fit_logistic", "ranker")


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_library_has_the_same_interface(library):
    assert isinstance(library, Library)
    assert library.name
    assert library.package
    assert library.module
    assert any(library.has(task) for task in TASKS)
    assert not library.has("fit_ratings") or library.rating_iterations > 0
    assert {name for name in vars(type(library)) if name.startswith(("fit_", "rank"))} <= {*TASKS, "fit_biased"}


def test_alternant_does_all_that_any_library_does():
    assert all(Alternant().has(task) for task in TASKS)


@pytest.mark.parametrize("entry", [e for e in ratings.ENTRIES if e.ours], ids=lambda e: e.name)
def test_predictions_seen_on_the_way_are_those_of_the_model(entry):
    rng = np.random.default_rng(0)
    rated = sp.random_array((30, 20), density=0.4, format="csr", rng=rng)
    rated.data = rng.integers(1, 6, rated.nnz).astype(float)
    problem = Problem(rated, rated.tocoo(), factors=4, iterations=3, threads=1)
    seen = {}
    recorder = Recorder(lambda predictions: {"mean": float(np.mean(predictions))})
    entry.run(problem, recorder)
    for iterations in (1, 2, 3):
        short = Observer()
        entry.run(replace(problem, iterations=iterations), short)
        seen[iterations] = float(np.mean(short.last()))
    assert {n: quality["mean"] for n, quality in recorder.quality.items()} == pytest.approx(seen, rel=1e-6)


def test_a_fit_of_the_search_ends_when_its_observer_has_seen_enough():
    class Stops(Observer):
        def note(self, iteration, learned):
            super().note(iteration, learned)
            self.iterations = iteration
            return iteration == 2

    observer = Stops()
    problem = Problem(sp.csr_array(np.eye(6, dtype=np.float32)), factors=2, iterations=9, threads=1)
    X, Y = Alternant().fit_als(problem, observer)
    assert observer.iterations == 2
    assert (X.shape, Y.shape) == ((6, 2), (6, 2))


def test_steps_of_gradient_descent_are_timed_and_predict():
    ratings_ = sp.random_array((30, 20), density=0.4, format="coo", rng=np.random.default_rng(0))
    fit = Alternant().fit_sgd(ratings_, Steps(factors=4, epochs=3, threads=1))
    assert 0 < fit.epoch < fit.seconds
    assert fit.predict(ratings_.row, ratings_.col).shape == (ratings_.nnz,)


def test_lists_are_checked_against_a_full_sort():
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((n, 8), dtype=np.float32) for n in (50, 300))
    ids, scores = Alternant().ranker(X, Y, 10, 1)(None)
    lists.check(X, Y, ids, scores, None)
    seen = lists.seen_items(50, 300)
    lists.check(X, Y, *Alternant().ranker(X, Y, 10, 1)(seen), seen)
    with pytest.raises(SystemExit, match="the list of user 0 is not that of a full sort"):
        lists.check(X, Y, ids, scores + 1, None)


def test_updates_are_timed_and_written_as_a_record(tmp_path, capsys):
    output = tmp_path / "update.json"
    assert sgd.main(["update", "--rounds", "1", "--at-least", "1e9", "--json", str(output)]) == 1
    record = json.loads(output.read_text())
    assert record["command"].startswith("python -m benchmarks sgd update --rounds 1")
    assert [row[0] for row in record["tables"][0]["rows"]] == ["32", "64"]
    assert "missed: a batch at f = 32 learns" in capsys.readouterr().out


@pytest.mark.nightly
def test_the_stand_in_equals_itself_call_by_call(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.common.machine.version", lambda _: "0")
    for name in ("", ".evaluation", ".cpu", ".cpu.als", ".cpu.lmf"):
        module = importlib.import_module(f"alternant.compat.implicit{name}")
        monkeypatch.setitem(sys.modules, f"implicit{name}", module)
    record = tmp_path / "record.json"
    options = ["--factors", "8", "--iterations", "2", "--rounds", "1", "--threads", "1", "--json", str(record)]
    assert compat.main(["--shape", "suites-tiny", "--at-least", "0.001", *options]) == 0
    (table,) = json.loads(record.read_text())["tables"]
    assert len(table["rows"]) == 16
    for row in table["rows"]:
        assert row[-1] == row[-2]
    assert compat.main(["--shape", "suites-tiny", "--at-least", "1000", "--only", "rows", *options]) == 1
