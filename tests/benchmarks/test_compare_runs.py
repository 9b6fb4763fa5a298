"""The rule by which `python -m benchmarks compare-runs` calls a benchmark slower."""

import json
from pathlib import Path

import pytest

judgement = pytest.importorskip("benchmarks.gate.judgement", reason="the benchmarks are not beside the tests")
compare_runs = pytest.importorskip("benchmarks.gate.compare_runs", reason="the benchmarks are not beside the tests")

LIMITS = judgement.Limits()


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        (0.050, 0.060, "slower"),  # 20 % and 10 ms
        (0.005, 0.006, "same"),  # 20 % and 1 ms
        (0.500, 0.550, "same"),  # 10 % and 50 ms
        (0.050, 0.050, "same"),
        (0.055, 0.050, "same"),
        (0.100, 0.050, "faster"),
    ],
)
def test_slower_takes_both_percent_and_milliseconds(base, head, verdict):
    assert judgement.judge("one", [base] * 5, [head] * 5, LIMITS).verdict == verdict
    assert judgement.judge("one", [base], [head], LIMITS).verdict == verdict


def test_other_limits():
    assert judgement.judge("one", [0.5] * 5, [0.55] * 5, judgement.Limits(percent=5)).verdict == "slower"
    assert judgement.judge("one", [0.05] * 5, [0.06] * 5, judgement.Limits(milliseconds=11)).verdict == "same"


def test_a_short_call_is_judged_by_as_many_as_take_base_fifty_milliseconds():
    assert judgement.calls_of_a_unit([0.003] * 3, LIMITS) == 17
    assert judgement.calls_of_a_unit([0.2], LIMITS) == 1
    row = judgement.judge_calls("one", [0.003] * 5, [0.0036] * 5, LIMITS)
    assert (row.verdict, row.calls) == ("slower", 17)
    assert row.base == pytest.approx(0.051)
    assert row.head == pytest.approx(0.0612)


@pytest.mark.parametrize("seconds", [1e-7, 1e-3, 0.0499, 0.05, 0.3, 20.0])
def test_the_gate_can_fire_whatever_a_call_takes(seconds):
    assert judgement.judge_calls("one", [seconds] * 5, [seconds * 1.16] * 5, LIMITS).verdict == "slower"
    assert judgement.judge_calls("one", [seconds] * 5, [seconds * 1.14] * 5, LIMITS).verdict == "same"


def test_one_slow_round_in_five_is_not_slower():
    row = judgement.judge("one", [0.05] * 5, [0.05, 0.05, 0.2, 0.05, 0.05], LIMITS)
    assert row.verdict == "same"
    assert row.quartiles[1] == 1


def test_rounds_are_compared_with_their_neighbours():
    slowing = [0.05, 0.06, 0.07, 0.09, 0.12]  # the machine, under both alike
    assert judgement.judge("one", slowing, slowing, LIMITS).verdict == "same"
    assert judgement.judge("one", slowing, [1.3 * s for s in slowing], LIMITS).verdict == "slower"


DISAGREEING = [0.05] * 5, [0.05, 0.05, 0.06, 0.07, 0.07]


@pytest.mark.parametrize(
    ("instructions", "verdict", "good"),
    [
        (1.01, "noise", True),
        (1.16, "more instructions", False),
        (None, "slower, but times disagree", False),
    ],
)
def test_instructions_decide_where_the_quartiles_straddle_the_limit(instructions, verdict, good):
    row = judgement.judge("one", *DISAGREEING, LIMITS)
    assert row.verdict == judgement.DISAGREE
    judgement.decide(row, instructions, LIMITS)
    assert row.verdict == verdict
    text, well = judgement.report([row], LIMITS, [])
    assert well is good
    assert verdict in text


def test_without_instructions_a_median_within_the_limit_passes():
    row = judgement.judge("one", [0.05] * 5, [0.05, 0.05, 0.051, 0.07, 0.07], LIMITS)
    assert row.verdict == judgement.DISAGREE
    judgement.decide(row, None, LIMITS)
    assert row.verdict == "noise, by the median"
    assert judgement.report([row], LIMITS, [])[1]


def test_new_and_removed_benchmarks_are_listed_and_do_not_fail():
    rows = judgement.rows_of(
        {"both": [0.05] * 3}, {"both": [0.05] * 3, "new": [0.05] * 3}, {"both", "old"}, {"both", "new"}, LIMITS
    )
    assert {row.name: row.verdict for row in rows} == {"both": "same", "new": "new", "old": "removed"}
    text, good = judgement.report(rows, LIMITS, ["a note"])
    assert good
    assert "| new |  |  |  |  |  | new |" in text
    assert "| old |  |  |  |  |  | removed |" in text
    assert "a note" in text


@pytest.mark.parametrize("head", [{}, {"one": [0.05] * 2}], ids=["never runs", "fails in one round"])
def test_a_benchmark_that_head_cannot_run_fails(head):
    rows = judgement.rows_of({"one": [0.05] * 3}, head, {"one"}, {"one"}, LIMITS)
    assert [row.verdict for row in rows] == ["failed"]
    assert not judgement.report(rows, LIMITS, [])[1]


def test_the_headline_counts_benchmarks_that_base_has_and_cannot_run():
    seconds = {name: [0.05] for name in "abc"}
    rows = judgement.rows_of({"b": [0.05]}, seconds, {"a", "b"}, {"a", "b", "c"}, LIMITS)
    assert [row.verdict for row in rows] == [judgement.UNCOMPARED, "same", "new"]
    text, good = judgement.report(rows, LIMITS, [])
    assert good
    assert "\nNone of 3 benchmarks is slower by more than 15 % and 5 ms; 1 could not be compared with base.\n" in text


def a_side(name):
    return compare_runs.Side(name, Path(name), Path(name))


@pytest.mark.parametrize("failing", ["base", "head"])
def test_where_every_benchmark_fails_on_one_side(failing, monkeypatch, tmp_path):
    def run(command, **options):
        if options["env"]["PYTHONPATH"] != failing:
            result = next(part.partition("=")[2] for part in command if part.startswith("--benchmark-json="))
            Path(result).write_text('{"benchmarks": [{"fullname": "one", "params": null, "stats": {"min": 0.05}}]}')
        return compare_runs.subprocess.CompletedProcess(command, 1, "E  Error: no such kernel", "")

    monkeypatch.setattr(compare_runs.subprocess, "run", run)
    base, head = a_side("base"), a_side("head")
    if failing == "base":
        with pytest.raises(compare_runs.CompareError, match=r"^no benchmark .* that matches 'one' runs against base$"):
            compare_runs.time_rounds(base, head, ["one"], 1, "one")
    else:
        compare_runs.time_rounds(base, head, ["one"], 1, "one")
        assert judgement.rows_of(base.seconds, head.seconds, {"one"}, {"one"}, LIMITS)[0].verdict == "failed"


def test_the_table_names_what_was_measured():
    row = judgement.judge_calls("benchmarks/suites/bench_als.py::test_one[64]", [0.01] * 5, [0.02] * 5, LIMITS)
    assert judgement.table([row]).splitlines()[-1] == "| one[64] | 5 | 50.0 | 100.0 | 2.00 (2.00 to 2.00) |  | slower |"


def test_a_benchmark_whose_file_was_moved_is_the_same_benchmark(monkeypatch, tmp_path):
    listed = []
    for tree, folder in (("base", "benchmarks"), ("head", "benchmarks/suites")):
        file = tmp_path / tree / folder / "bench_als.py"
        file.parent.mkdir(parents=True)
        file.write_text("")

        def run(command, **options):
            return compare_runs.subprocess.CompletedProcess(command, 0, f"{command[-1]}::test_one[a/b]\n\n1 test\n", "")

        monkeypatch.setattr(compare_runs.subprocess, "run", run)
        listed.append(compare_runs.collect(compare_runs.Side(tree, tmp_path / tree, tmp_path), "one"))
    assert listed == [{"benchmarks/suites/bench_als.py::test_one[a/b]"}] * 2


def test_calls_are_made_in_children_for_valgrind_to_count(tmp_path, monkeypatch, capfd):
    count_calls = pytest.importorskip("benchmarks.gate.count_calls")
    if not hasattr(count_calls.os, "fork"):
        pytest.skip("Windows has no fork")
    cases = tmp_path / "cases.json"
    case = ["benchmarks/suites/bench_dense.py", "test_gramian", {"f": 32, "dtype": "float32", "backend": "numpy"}]
    cases.write_text(json.dumps([case]))
    monkeypatch.setattr("sys.argv", ["count_calls", str(cases)])
    count_calls.main()
    assert [json.loads(line)[:2] for line in capfd.readouterr().out.splitlines()] == [[0, 2], [0, 4]]
