"""The command line: what it prints, where, and with which exit code; once as a process and once as a function."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

import alternant
from alternant._utils.atomic import whole_file
from alternant.cli import app as cli
from alternant.cli import demo
from alternant.cli.commands import demo as demo_command
from alternant.cli.commands import info as info_command
from alternant.datasets import load_msweb
from alternant.evaluation import leave_one_out, ranking_metrics


def run(*arguments, **environment):
    """Run ``alternant`` as its own process."""
    return subprocess.run(
        [sys.executable, "-m", "alternant", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )


# --- usage ------------------------------------------------------------------------------------------------------------


def test_version_is_the_installed_one():
    result = run("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"alternant {alternant.__version__}\n", "")


def test_without_a_command_the_help_goes_to_stderr_with_exit_code_2():
    result = run()
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("usage: alternant")
    for command in ("demo", "info"):
        assert re.search(rf"^ +{command} +\w", result.stderr, re.MULTILINE)


def test_help_goes_to_stdout_with_exit_code_0(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: alternant")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cook"], "invalid choice: 'cook'"),
        (["demo", "--backend", "fortran"], "invalid choice: 'fortran'"),
        (["demo", "--num-threads", "0"], "must be a whole number of at least 1, got '0'"),
        (["demo", "--num-threads", "two"], "must be a whole number of at least 1, got 'two'"),
        (["info", "--yaml"], "unrecognized arguments: --yaml"),
    ],
)
def test_wrong_usage_is_told_on_stderr_with_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert printed.out == ""
    assert message in printed.err


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failure_is_one_sentence_on_stderr_with_exit_code_1():
    result = run("info", ALTERNANT_BACKEND="fortran")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == ("alternant: error: backend must be one of auto, cython, numba, numpy, got 'fortran'\n")


def test_a_named_backend_that_cannot_run_fails_with_the_reason():
    result = run("demo", "--backend", "cython", ALTERNANT_SIMD="mmx")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("alternant: error: the cython backend can't run here: ")
    assert result.stderr.count("\n") == 1


def test_a_message_of_several_lines_becomes_one(monkeypatch, capsys):
    def fail(*_):
        raise OSError("first\n  second")

    monkeypatch.setattr(demo_command, "run_demo", fail)
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr() == ("", "alternant: error: first second\n")


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    def fail(*_):
        raise AttributeError("a bug")

    monkeypatch.setattr(demo_command, "run_demo", fail)
    with pytest.raises(AttributeError, match="a bug"):
        cli.main(["demo"])


def test_a_warning_is_one_sentence_without_a_place_in_the_code(monkeypatch, capsys):
    def warn(*_):
        warnings.warn("slow kernels", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(demo_command, "run_demo", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["demo"]) == 0
    assert capsys.readouterr() == ("", "alternant: warning: slow kernels\n")


def test_ctrl_c_exits_quietly_with_130(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_command, "run_demo", stop)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_during_imports_exits_quietly_with_130():
    code = (
        "import sys, alternant.cli\n"
        "class Stop:\n"
        "    def find_spec(self, *_): raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "sys.exit(alternant.cli.main(['info']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends the process at once")
def test_sigterm_deletes_temporary_files_with_143(tmp_path, monkeypatch, capsys):
    def stop(*_):
        with whole_file(tmp_path / "lists.csv", "lists"):
            assert len(list(tmp_path.iterdir())) == 1
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("went on")

    monkeypatch.setattr(demo_command, "run_demo", stop)
    with pytest.raises(SystemExit) as raised:
        cli.main(["demo"])
    assert raised.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))  # of a program that calls main
    try:
        monkeypatch.setattr(demo_command, "run_demo", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert cli.main(["demo"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [1]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_leaves_is_no_error_to_talk_about(unbuffered):
    process = subprocess.Popen(
        [sys.executable, "-m", "alternant", "info"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ALTERNANT_BACKEND": "numpy", "PYTHONUNBUFFERED": unbuffered},
    )
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    code = process.wait(timeout=120)
    if sys.platform != "win32":  # where a broken pipe is another, less telling error
        assert (code, stderr) == (141, "")
    assert "Traceback" not in stderr


# --- info -------------------------------------------------------------------------------------------------------------


def test_info_prints_every_entry_of_backend_info_aligned(capsys):
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = {line.split()[0]: line for line in lines if not line.startswith(" ")}
    info = alternant.backend_info()
    assert list(printed) == ["alternant", *info]
    starts = {re.match(r"\S+ +", line).end() for line in printed.values()}
    assert len(starts) == 1
    assert printed["alternant"].endswith(alternant.__version__)
    assert printed["threads"].split() == ["threads", str(info["threads"])]
    assert info["backend"] in printed["backend"]
    assert max(map(len, lines)) <= 80


def test_info_as_json_is_backend_info():
    result = run("info", "--json", ALTERNANT_BACKEND="numpy")
    assert (result.returncode, result.stderr) == (0, "")
    with alternant.use_backend("numpy"):
        expected = {"alternant": alternant.__version__, **alternant.backend_info()}
    got = json.loads(result.stdout)
    assert got.keys() == expected.keys()
    # Which BLAS libraries are loaded depends on what else the process has imported.
    assert {**got, "blas": None} == {**expected, "blas": None}


def test_info_wraps_a_long_reason_and_shows_what_is_not_known(monkeypatch, capsys):
    reason = "its compiled modules do not load: " + "a long reason " * 10
    monkeypatch.setattr(
        info_command,
        "backend_info",
        lambda: {"simd": None, "openmp": True, "blas": [], "backends": {"cython": reason, "numpy": "ok"}},
    )
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == ["simd       -", "openmp     yes", "blas       -"]
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[4:]).split()) == f"backends cython {reason.strip()} numpy ok"


# --- demo -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_result():
    return run("demo", "--num-threads", "2")


def test_the_demo_runs_with_its_progress_bar_on_stderr(demo_result):
    assert demo_result.returncode == 0, demo_result.stderr
    assert "ImplicitALS: 100%" in demo_result.stderr
    assert "objective=" in demo_result.stderr
    assert "\r" not in demo_result.stdout


def test_the_demo_fits_a_terminal_of_80_columns_in_plain_ascii(demo_result):
    assert demo_result.stdout.isascii()
    for line in demo_result.stdout.splitlines():
        assert len(line) <= 80
        assert line == line.rstrip()
    assert "\n\n\n" not in demo_result.stdout


def test_the_demo_says_what_the_data_are_and_which_kernels_run(demo_result):
    flat = " ".join(demo_result.stdout.split())
    data = load_msweb()
    for text in (data.description, data.citation, data.license, "98,653 visits", "2 threads."):
        assert text in flat
    assert f"Backend {alternant.backend_info()['backend']}" in flat


def test_the_demo_prints_the_metrics_of_its_models_and_beats_popularity_clearly(demo_result):
    """The same split, models and metrics once more, in this process."""
    train, test = leave_one_out(load_msweb().interactions, random_state=0)
    users = np.flatnonzero(test.sum(axis=1))
    expected = {}
    for model in (alternant.Popularity(), alternant.ImplicitALS(**demo.SETTINGS)):
        ids, _ = model.fit(train).recommend(users, k=10)
        metrics = ranking_metrics(ids, test[users])
        assert metrics.n_users_evaluated == len(users) == 22_716
        expected[type(model).__name__] = (metrics.hit_rate, metrics.ndcg)
    table = dict(re.findall(r"^ +(Popularity|ImplicitALS|improvement) +(\S+ +\S+)$", demo_result.stdout, re.MULTILINE))
    for name, values in expected.items():
        assert table[name].split() == [f"{value:.3f}" for value in values]
    gains = [m / p - 1 for m, p in zip(expected["ImplicitALS"], expected["Popularity"], strict=True)]
    assert table["improvement"].split() == [f"{gain:+.0%}" for gain in gains]
    # Measured: +15 % and +23 %.
    assert gains[0] > 0.10
    assert gains[1] > 0.18


def visitors(text):
    """{visitor: (visited, held out, {rank: (marked, title)})} of the demo's text."""
    found = {}
    for block in re.split(r"^  Visitor ", text.split("\nNext\n")[0], flags=re.MULTILINE)[1:]:
        number, rest = block.split("\n", 1)
        visited, rest = re.split(r"\n +held out +", rest, maxsplit=1)
        held_out, recommended = re.split(r"\n +recommended +", rest, maxsplit=1)
        ranks = re.findall(r"^ *(?:recommended)? *(\d+) ([* ]) (.+)$", recommended, re.MULTILINE)
        found[int(number)] = (
            " ".join(visited.split()).removeprefix("visited "),
            " ".join(held_out.split()).removesuffix(" (not among the 10 recommended)"),
            {int(rank): (mark == "*", title) for rank, mark, title in ranks},
        )
    return found


def test_the_demo_shows_three_visitors_as_the_split_has_them(demo_result):
    data = load_msweb()
    train, test = leave_one_out(data.interactions, random_state=0)
    shown = visitors(demo_result.stdout)
    assert list(shown) == list(demo.VISITORS)
    assert len(shown) == 3
    for user, (visited, held_out, recommended) in shown.items():
        seen = data.item_titles[train.indices[train.indptr[user] : train.indptr[user + 1]]].tolist()
        assert visited == ", ".join(seen)
        assert 5 <= len(seen) + 1 <= 8
        assert [held_out] == data.item_titles[test.indices[test.indptr[user] : test.indptr[user + 1]]].tolist()
        assert list(recommended)[:5] == [1, 2, 3, 4, 5]
        titles = [title for _, title in recommended.values()]
        assert set(titles) <= set(data.item_titles)
        assert not set(titles) & set(seen)
        assert [title for marked, title in recommended.values() if marked] == [held_out] * (held_out in titles)


def test_the_code_that_the_demo_ends_in_runs(demo_result):
    lines = [line[2:] for line in demo_result.stdout.split("\nNext\n")[1].splitlines()[1:] if line.strip()]
    assert len(lines) == 5
    names = {}
    exec("\n".join(lines[:4]), names)
    assert names["ids"].shape == (3, 10)
    assert "docs/quickstart.md" in lines[4]


@pytest.mark.nightly
def test_the_demo_takes_the_backend_it_is_told(monkeypatch, capsys):
    for name, value in (("factors", 8), ("iterations", 1)):  # quick enough for NumPy
        monkeypatch.setitem(demo.SETTINGS, name, value)
    assert cli.main(["demo", "--backend", "numpy", "--num-threads", "1"]) == 0
    printed = capsys.readouterr()
    assert "Backend numpy, 1 thread.\n  These are the plain kernels" in printed.out
    assert "backend='numpy'" in printed.out
