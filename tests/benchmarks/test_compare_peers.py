"""What compare_peers.py reckons with, without any of the libraries that it compares."""

import argparse

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("peer_runs", reason="the benchmarks are not beside the tests (a wheel's test run)")

import compare_peers
from peer_report import Measure, draw, table
from peer_runs import Adapter, Interrupted, Outcome, Problem, Recorder, run_in_turn
from peers_als import WEIGHTED, objective, other_objective


def outcome(name, package="peer", seconds=(1.0, 3.0), values=(20.0, 10.0), **facts):
    adapter = Adapter(name, package, package, None, **facts)
    quality = {i: {"objective": value} for i, value in enumerate(values, 1)}
    return Outcome(adapter, "1.0", rounds=[dict(enumerate(seconds, 1))], quality=quality)


def test_the_objective_is_the_sum_over_all_pairs():
    rng = np.random.default_rng(0)
    rows = sp.random_array((6, 5), density=0.4, format="csr", rng=rng)
    X, Y = rng.normal(size=(6, 3)), rng.normal(size=(5, 3))
    dense = rows.toarray()
    expected = np.sum((1 + dense) * ((dense > 0) - X @ Y.T) ** 2) + 0.3 * (np.sum(X**2) + np.sum(Y**2))
    assert objective(rows, X, Y, 0.3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("adapter", [a for a in WEIGHTED if a.ours], ids=lambda a: a.name)
def test_ours_passes_the_check_of_the_objective(adapter):
    assert other_objective(1, adapter) is None


def test_a_library_that_ends_elsewhere_is_found_out():
    def run(problem, recorder):
        recorder.note(1, lambda: problem.start)

    assert "does not minimise this objective" in other_objective(1, Adapter("lazy", "peer", "peer", run))


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

    def evaluate(adapter, learned):
        raise AssertionError("nothing is learned")

    adapters = [Adapter("broken", "numpy", "numpy", fails), Adapter("absent", "no-such-package", "x", fails)]
    outcomes = run_in_turn(adapters, Problem(sp.csr_array((2, 2))), evaluate, 1, None, lambda adapter: None)
    text = table(outcomes, [Measure("objective", "objective", ".6g", 1e-6)], "iteration")
    assert "| RuntimeError: no luck |" in text
    assert "| not installed |" in text


def test_the_target_is_what_the_best_peer_reaches_with_its_defaults():
    runs = [outcome("ours", "alternant", values=(1.0,)), outcome("a", values=(9.0, 4.0)),
            outcome("b", values=(9.0, 2.0), defaults=False),
            outcome("c", values=(9.0, 5.0, 1.0), iterations=2)]  # fmt: skip
    measure = Measure("objective", "objective", ".6g", 1e-6)
    assert measure.target(runs) == 4.0
    assert Measure("objective", "objective", ".6g", 1e-6, higher=True).target(runs) == 5.0
    assert "not within 1" not in table(runs, [measure], "iteration")


def test_at_least_looks_at_the_fastest_peer_and_its_objective():
    ours, slow = outcome("ours", "alternant", (0.1, 1.1)), outcome("slow", seconds=(1.0, 9.0))
    fast = outcome("fast", seconds=(1.0, 4.0), values=(20.0, 9.0))
    assert compare_peers.missed([ours, slow], "weighted", 8) == []
    assert "8.00 times as fast as slow" in compare_peers.missed([ours, slow], "weighted", 9)[0]
    reasons = compare_peers.missed([ours, slow, fast], "weighted", 2)
    assert reasons == ["after iteration 2, the objective is 10; fast's is 9"]
    assert compare_peers.missed([slow], "weighted", 1) == ["alternant did not run"]


def test_options_of_alternant_are_literals_or_strings():
    options = compare_peers.parse(
        ["weighted", "--alternant-option", "max_cg_steps=3", "--alternant-option", "solver=cholesky"]
    )
    assert dict(options.alternant_option) == {"max_cg_steps": 3, "solver": "cholesky"}
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE"):
        compare_peers.option("max_cg_steps")


def test_lists_are_left_out_where_that_is_asked_for(monkeypatch):
    rows = sp.csr_array(np.eye(3))
    problem = Problem(rows, rows, regularization=0.1)
    monkeypatch.setattr(compare_peers, "ndcg", lambda *_: 0.5)
    adapter, learned = next(a for a in WEIGHTED if a.ours), (np.ones((3, 2)), np.ones((3, 2)))
    both = compare_peers.evaluate_factors(problem, True, adapter, learned)
    assert both["ndcg"] == 0.5
    assert compare_peers.evaluate_factors(problem, False, adapter, learned) == {"objective": both["objective"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("explicit --data gowalla", "explicit takes no --data gowalla: choose from ml-latest-small, book-crossing"),
        ("explicit --data msweb", "choose from ml-latest-small, book-crossing, jester-1"),
        ("explicit --data jester-1", "needs --folder"),
        ("weighted --folder no/such", "there is no folder 'no/such'"),
        ("weighted --output no/such/table.md", "to write 'table.md' to"),
        ("weighted --output .", "'.' is a folder"),
        ("weighted --factors 0", "expected a whole number of at least 1, got '0'"),
        ("weighted --threads none", "expected a whole number of at least 1, got 'none'"),
        ("weighted --iterations 1", "expected a whole number of at least 2, got '1'"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        compare_peers.parse(arguments.split())
    assert said in capsys.readouterr().err


def test_a_picture_that_can_not_be_written_is_refused(capsys):
    pytest.importorskip("matplotlib")
    assert compare_peers.parse(["weighted", "--picture", "a.png"]).picture.name == "a.png"
    with pytest.raises(SystemExit, match="2"):
        compare_peers.parse(["weighted", "--picture", "a.xyz"])
    assert "'a.xyz' must end in one of " in capsys.readouterr().err


def test_data_that_are_not_there_are_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match=r"^can't read steam-200k: .*game_play\.dat"):
        compare_peers.public_data.load("steam-200k", tmp_path)


def commanded(monkeypatch, adapter, *more):
    monkeypatch.setitem(compare_peers.ADAPTERS, "weighted", [adapter])
    monkeypatch.setitem(compare_peers.CHECKS, "weighted", lambda _threads, _adapter: None)
    tiny = ["weighted", "--shape", "suites, tiny", "--factors", "2", "--no-memory", *more]
    monkeypatch.setattr("sys.argv", ["compare_peers.py", *tiny])
    return compare_peers.main()


def test_the_command_fails_where_alternant_does_not_run(monkeypatch, capsys):
    def fails(problem, recorder):
        raise RuntimeError("no luck")

    assert commanded(monkeypatch, Adapter("ours", "alternant", "alternant", fails)) == 1
    assert "missed: ours did not run: RuntimeError: no luck" in capsys.readouterr().out
    assert commanded(monkeypatch, Adapter("peer", "numpy", "numpy", fails)) == 0


@pytest.mark.parametrize("whole", [0, 2])
def test_an_interrupted_command_prints_the_rounds_that_are_whole(whole, monkeypatch, capsys, tmp_path):
    calls = []

    def run(problem, recorder):
        calls.append(1)
        for iteration in (1, 2):
            recorder.note(iteration, lambda: problem.start)
        if len(calls) == whole + 2:
            raise KeyboardInterrupt

    output = tmp_path / "table.md"
    assert commanded(monkeypatch, Adapter("peer", "numpy", "numpy", run), "--output", str(output)) == 130
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

    adapters = [Adapter("one", "numpy", "numpy", run), Adapter("two", "numpy", "numpy", interrupted)]
    with pytest.raises(Interrupted) as caught:
        run_in_turn(adapters, Problem(sp.csr_array((2, 2))), lambda *_: {}, 5, None, lambda adapter: None)
    assert caught.value.rounds == 1
    assert [len(outcome.rounds) for outcome in caught.value.outcomes] == [1, 1]


def test_the_libraries_are_chosen_by_name():
    names = [adapter.name for adapter in compare_peers.chosen(WEIGHTED, ["alternant", "LensKit"])]
    assert names == ["alternant", "LensKit Cholesky"]
    with pytest.raises(SystemExit, match="no library is called 'spotify'"):
        compare_peers.chosen(WEIGHTED, ["spotify"])


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw([outcome("ours", "alternant"), outcome("peer")], Measure("objective", "objective", ".6g", 1e-6), "iteration",
         "a title", tmp_path / "picture.png")  # fmt: skip
    assert (tmp_path / "picture.png").stat().st_size > 10_000
