"""Every command of the benchmarks says what it does, and those that need no other library run on tiny inputs."""

import importlib
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are not beside the tests (a wheel's test run)")

import benchmarks.__main__ as main
from benchmarks.common import render, results
from benchmarks.common.timing import take_turns

FOLDER = Path(main.__file__).parent
TINY = {
    "scaling": ["--shape", "suites, tiny", "--factors", "8", "--rounds", "1", "--threads", "1", "2"],
    "precision": ["--shape", "suites, tiny", "--factors", "8", "--iterations", "2"],
    "memory": ["--shape", "suites, tiny", "--factors", "8", "--threads", "1"],
    "read": ["--rows", "2000"],
    "defaults": ["logistic", "--data", "msweb", "--try", '{"epochs": 1, "factors": 4}'],
}


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


@pytest.mark.parametrize("command", TINY)
def test_a_command_writes_what_it_prints(command, tmp_path, capsys):
    if command in ("read", "memory"):
        pytest.importorskip("pandas")
        if not Path("/proc/self/statm").exists():
            pytest.skip("memory is read from /proc")
    output = tmp_path / "record.json"
    assert main.main([command, *TINY[command], "--json", str(output)]) == 0
    record = json.loads(output.read_text())
    assert record["command"].startswith(f"python -m benchmarks {command} ")
    assert record["machine"]
    printed, rendered = capsys.readouterr().out, results.markdown(record)
    for table in record["tables"]:
        assert table["rows"]
        for row in table["rows"]:
            assert len(row) == len(table["columns"])
            assert results.line(row) in printed
            assert results.line(row) in rendered
    assert record["date"] in rendered


def test_the_page_of_results_is_what_the_records_say():
    page = render.PAGE.read_text(encoding="utf-8")
    assert render.rendered(page) == page, "run python -m benchmarks render"
    assert page.count("<!-- table ") == page.count("<!-- end -->") == len(render.PLACE.findall(page))


@pytest.mark.parametrize("path", sorted(render.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_record_says_how_when_and_where_it_was_measured(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", record["date"])
    assert record["command"]
    assert "AMD EPYC" in record["machine"]
    assert re.fullmatch(r"[0-9a-f]{7}\+?", record["commit"])
    for table in record["tables"]:
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    assert f"results/{path.name}" in render.PAGE.read_text(encoding="utf-8") or (
        f"<!-- table {path.stem} -->" in render.PAGE.read_text(encoding="utf-8")
    ), "every record is on the page or linked from it"


def test_commands_in_the_pages_are_there():
    for page in (FOLDER / "README.md", FOLDER / "RESULTS.md", FOLDER.parent / "README.md"):
        if page.exists():
            for command in re.findall(r"python -m benchmarks ([\w-]+)", page.read_text(encoding="utf-8")):
                assert command in main.COMMANDS, (page, command)


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
