"""Every command of the benchmarks says what it does, and those that need no other library run on tiny inputs."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are not beside the tests (a wheel's test run)")

from benchmarks import __main__ as main
from benchmarks.accuracy import hold_outs
from benchmarks.common import render, results
from benchmarks.common.timing import take_turns
from benchmarks.profile import read_interactions

FOLDER = Path(main.__file__).parent
TINY = [
    "scaling --shape tiny --factors 8 --rounds 1 --threads 1 2",
    "precision --shape tiny --factors 8 --iterations 2",
    "memory --shape tiny --factors 8 --threads 1",
    "features cost --shape tiny --factors 8 --iterations 2 --rounds 1",
    "defaults implicit --data ml-latest-small --folder FOLDER --factors 4 --trials 2",
    "defaults biased --data ml-latest-small --folder FOLDER --folds 1 --trials 2",
    "defaults cosine --data ml-latest-small --folder FOLDER --folds 1 --trials 2",
    """defaults logistic --data ml-latest-small --folder FOLDER --try {"epochs":1} {"factors":4}""",
    "events kinds --data ml-latest-small --folder FOLDER --seeds 0 1 --budget 1",
    "events preferences --data ml-latest-small --folder FOLDER --seeds 0 --draws 1",
    "tune-budget --data ml-latest-small --folder FOLDER --factors 4 --trials 2",
    "nightly --data ml-latest-small --folder FOLDER --nights 2 --models implicit-als explicit-als",
    "nightly --data ml-latest-small --folder FOLDER --nights 3 --models popularity --launch",
    "nightly --save --size 50 20 300 --factors 4",
]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "ml-latest-small").mkdir()
    pairs, ratings = rng.permutation(40 * 30)[:400], rng.integers(1, 11, 400)
    lines = [f"{pair // 30},{pair % 30},{rating / 2}" for pair, rating in zip(pairs, ratings, strict=True)]
    (tmp_path / "ml-latest-small" / "ratings.csv").write_text("\n".join(["userId,movieId,rating", *lines]))
    return tmp_path


def test_hold_outs_are_compared_with_the_end_of_each_history(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "ml-latest-small").mkdir()
    pairs, times = rng.permutation(40 * 30)[:500], rng.permutation(500)
    lines = [f"{pair // 30},{pair % 30},3.5,{time}" for pair, time in zip(pairs.tolist(), times.tolist(), strict=True)]
    text = "\n".join(["userId,movieId,rating,timestamp", *lines])
    (tmp_path / "ml-latest-small" / "ratings.csv").write_text(text)
    monkeypatch.setattr(hold_outs, "GRID", [(1.0, 1.0, 0.0), (1.0, 1.0, 0.5), (3.0, 1.0, 0.0)])
    when = dict(zip(((p // 30, p % 30) for p in pairs.tolist()), times.tolist(), strict=True))
    parts = [part.toarray() for part in hold_outs.last_fifth(tmp_path)]
    assert (parts[0] + parts[1]).sum() == 500
    for user in range(40):
        early, late = ([when[user, int(item)] for item in np.flatnonzero(part[user])] for part in parts)
        assert max(early) < min(late)
        assert len(late) == np.ceil((len(early) + len(late)) / 5)
    assert main.main(["hold-outs", "--folder", str(tmp_path), "--factors", "2"]) == 0
    assert "| 2 | both | " in capsys.readouterr().out


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_of_each_command(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main.main([command, "--help"])
    assert f"usage: python -m benchmarks {command} " in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_the_list_of_commands_and_a_wrong_one(capsys):
    assert main.main([]) == 0
    assert all(f"\n  {command} " in capsys.readouterr().out for command in list(main.COMMANDS)[:1])
    assert main.main(["bake"]) == 2
    assert capsys.readouterr().err.startswith("there is no benchmark 'bake': choose from als, ratings, ")


@pytest.mark.parametrize("line", TINY, ids=lambda line: " ".join(line.split()[:2]).partition(" --")[0])
def test_a_command_writes_what_it_prints(line, folder, capsys):
    command, *options = line.split()
    if command == "memory" and not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    if command == "tune-budget":
        pytest.importorskip("optuna")
    output = folder / "record.json"
    special = {"tiny": "suites-tiny", "FOLDER": str(folder)}
    assert main.main([command, *(special.get(each, each) for each in options), "--json", str(output)]) == 0
    record = json.loads(output.read_text())
    assert record["command"].startswith(f"python -m benchmarks {command} ")
    assert "--json" not in record["command"]
    assert record["machine"]
    printed, rendered = capsys.readouterr().out, results.markdown(record)
    for table in record["tables"]:
        assert table["rows"]
        for row in table["rows"]:
            assert len(row) == len(table["columns"])
            assert results.line(row) in printed
            assert results.line(row) in rendered
    assert record["date"] in rendered


@pytest.mark.parametrize("case", read_interactions.CASES)
def test_reading_is_measured(case):
    pytest.importorskip("pandas")
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    row = read_interactions.measure(case, 2000)
    assert row[0] == case
    assert 1900 < int(row[-1].replace(",", "")) <= 2000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("defaults implicit", "--folder is needed, which holds one sub-folder a data set"),
        ("defaults biased --data msweb --folder .", "biased takes no --data msweb: choose from ml-latest-small"),
        ("defaults implicit --data msweb --try {}", "--try is for the models trained by gradient descent"),
        ("tune-budget", "--folder is needed"),
        ("sgd rmse", "rmse needs --folder"),
        ("features accuracy", "accuracy needs --folder"),
        ("sgd speed --epochs 1", "--epochs must be at least 2: the first is not timed"),
        ("roofline --factors 20", "--factors must be multiples of 16"),
        ("scaling --threads 1 0", "expected a whole number of at least 1, got '0'"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(arguments.split())
    assert said in re.sub(r"\s+", " ", capsys.readouterr().err)


@pytest.mark.parametrize("path", render.pages(), ids=lambda path: path.name)
def test_the_pages_of_results_are_what_the_records_say(path):
    page = path.read_text(encoding="utf-8")
    assert render.rendered(page) == page, "run python -m benchmarks render"
    assert page.count("<!-- table ") == page.count("<!-- end -->") == len(render.PLACE.findall(page))


@pytest.mark.parametrize("path", sorted(render.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_record_says_how_when_and_where_it_was_measured(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", record["date"])
    assert record["command"]
    assert re.match(r"\S[^;]*; alternant \d", record["machine"]), "the CPU and the version"
    assert re.fullmatch(r"[0-9a-f]{7}\+?", record["commit"])
    for table in record["tables"]:
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    shown = {found.groups()[1:] for page in render.pages() for found in render.PLACE.finditer(page.read_text("utf-8"))}
    whole, parts = (path.stem, None), {(path.stem, "brief"), (path.stem, "notes")}
    assert whole in shown or parts <= shown, "every record is on a page, with its notes"


def test_commands_in_the_pages_are_there():
    for page in (FOLDER / "README.md", *render.pages(), FOLDER.parent / "README.md"):
        if page.exists():
            for command in re.findall(r"python -m benchmarks ([\w-]+)", page.read_text(encoding="utf-8")):
                assert command in main.COMMANDS, f"{page} names {command}"


def test_a_record_that_is_not_there(capsys):
    with pytest.raises(SystemExit, match="no record is called 'nothing': choose from accuracy"):
        main.main(["render", "nothing"])
    assert main.main(["render", "accuracy"]) == 0
    assert "| SimpleX |" in capsys.readouterr().out


def test_all_take_turns_after_a_round_that_warms_up():
    calls = []
    noted = take_turns({name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}, 2)
    assert calls == ["a", "b"] * 3
    assert noted == {"a": [3, 5], "b": [4, 6]}


def test_no_benchmark_reads_private_names_of_the_package():
    for file in FOLDER.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(from|import) alternant[\w.]*\._", text), file
        assert not re.search(r"\b(model|fitted|state|now)\._", text), file


def test_commands_name_modules_that_can_be_run():
    for module, what in main.COMMANDS.values():
        assert callable(importlib.import_module(f"benchmarks.{module}").main)
        assert what[0].islower() or what.startswith("ALS")
