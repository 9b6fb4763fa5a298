"""The command line from a table to lists: results on stdout, one sentence on stderr, exit codes for scripts."""

import argparse
import csv
import io
import json
import math
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from alternant import Events, ImplicitALS, Interactions
from alternant._utils import threads, validation
from alternant._utils.atomic import same_file
from alternant._utils.lock import FolderLock
from alternant._utils.messages import about, parameter, refusal
from alternant.cli import app as cli
from alternant.cli.commands import COMMANDS
from alternant.cli.printing import print_table
from alternant.evaluation import evaluate, leave_one_out, random_split
from alternant.models import MODELS

pyarrow = pytest.importorskip("pyarrow", reason="tables in files are read by pyarrow")

TABLE = ["--user", "userId", "--item", "movieId", "--value", "rating", "--time", "timestamp"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ratings, titles, and a model of them."""
    path = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 2, 40)
    rows = ["userId,movieId,rating,timestamp"]
    for user in range(40):
        for movie in rng.permutation(30)[:12]:
            if (movie % 2 == taste[user]) or rng.random() < 0.2:
                rows.append(f"{user + 1},{movie + 1},{rng.integers(1, 6)},{rng.integers(10**6)}")
    (path / "ratings.csv").write_text("\n".join(rows) + "\n")
    titles = ["movieId,title"] + [f'{movie + 1},"Movie, the {movie + 1}th"' for movie in range(30)]
    (path / "movies.csv").write_text("\n".join(titles) + "\n")
    words = [row.replace(",", "\tfilm-", 1) for row in rows[1:]]
    (path / "words.tsv").write_text("\n".join("user-" + row.split(",")[0] for row in words) + "\n")
    (path / "twins.csv").write_text("a,b,c,2019\n1,p,x,3\n2,q,y,4\n")
    code = cli.main(["fit", str(path / "ratings.csv"), *TABLE, "-o", str(path / "model.safetensors"), "--factors", "4",
                     "--random-state", "0"])  # fmt: skip
    assert code == 0
    return path


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Run a command in the folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(folder)
    capsys.readouterr()

    def run(*arguments):
        try:
            code = cli.main([*map(str, arguments)])
        except SystemExit as end:
            code = end.code
        done = capsys.readouterr()
        return code, done.out, done.err

    return run


def lines(text):
    return [line.split("\t") for line in text.splitlines()]


def test_lists_of_all_users_fill_a_folder_that_the_same_command_completes(run, folder):
    pq = pytest.importorskip("pyarrow.parquet", reason="the files of a folder are Parquet")
    command = "recommend", "model.safetensors", "--all", "-k", 3, "--keep-seen", "--shard-size", 15, "-o", "lists/"
    assert run(*command) == (0, "120 rows in lists/\n", "")
    (folder / "lists" / "part-00001.parquet").unlink()
    code, out, _ = run(*command, "--json")
    assert (code, json.loads(out)) == (0, {"folder": "lists/", "rows": 120})
    parts = sorted((folder / "lists").glob("part-*"))
    assert [pq.read_metadata(part).num_rows for part in parts] == [45, 45, 30]
    code, out, err = run(*command, "--shard-size", 16)
    assert (code, out) == (1, "")
    assert "'lists' holds lists of a run with shard_size=15, not 16: name another folder, or delete this one" in err
    for part, users in (("1/3", range(1, 14)), ("2/3", range(14, 27)), ("3/3", range(27, 41))):
        code, out, _ = run("recommend", "model.safetensors", "--all", "-k", 1, "--part", part, "--keep-seen")
        assert [int(line[0]) for line in lines(out)[1:]] == list(users)
    shutil.rmtree(folder / "lists")


def test_fit_says_what_it_read_and_saves_a_model_that_needs_nothing_else(run, folder):
    code, out, err = run("fit", "ratings.csv", *TABLE, "-o", "a.safetensors", "--set", "weighting=hu", "--alpha", "2",
                         "--iterations", "3", "--set", "regularization=(0.1, 0.2)",
                         "--set", "degree_normalization=0.1,0.2")  # fmt: skip
    assert (code, err) == (0, "")
    assert "users             40" in out
    assert "saved in a.safetensors" in out
    model = ImplicitALS.load(folder / "a.safetensors")
    assert (model.weighting, model.alpha, model.iterations, model.regularization) == ("hu", 2.0, 3, (0.1, 0.2))
    assert model.user_ids_.tolist() == list(range(1, 41))
    code, out, _ = run("fit", "ratings.csv", *TABLE, "-o", "a.safetensors", "--model", "biased-mf", "--iterations", "2",
                       "--json")  # fmt: skip
    data = json.loads(out)
    assert (data["model"], data["parameters"]["epochs"], data["fit"]["iterations"]) == ("BiasedMF", 2, 2)
    assert data["data"]["n_users"] == 40


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if model.traits.feedback != "likes"])
def test_every_model_goes_from_table_to_lists(run, model):
    assert run("fit", "ratings.csv", *TABLE, "--model", model, "-o", "b.safetensors")[0] == 0
    code, out, _ = run("recommend", "b.safetensors", "--users", "3", "-k", "2")
    assert code == 0
    assert [row[:1] + row[3:] for row in lines(out)[1:]] == [["3", "1"], ["3", "2"]]


def test_text_ids_without_a_header(run):
    assert run("fit", "words.tsv", "--user", "0", "--item", "1", "--no-header", "-o", "w.safetensors")[0] == 0
    code, out, _ = run("recommend", "w.safetensors", "--users", "user-1", "-k", "1")
    assert code == 0
    assert re.fullmatch(r"user\titem\tscore\trank\nuser-1\tfilm-\d+\t\S+\t1\n", out)


def test_recommend_prints_what_the_model_recommends(run, folder):
    model = ImplicitALS.load(folder / "model.safetensors")
    ids, scores = model.recommend([1, 7], 3)
    code, out, err = run("recommend", "model.safetensors", "--users", 1, 7, "-k", 3, "--titles", "movies.csv")
    assert (code, err) == (0, "")
    head, *rows = lines(out)
    assert head == ["user", "item", "score", "rank", "title"]
    assert [int(row[1]) for row in rows] == ids.ravel().tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(scores.ravel(), rel=1e-6)
    assert rows[0][4] == f"Movie, the {ids[0, 0]}th"
    code, out, _ = run("recommend", "model.safetensors", "--users", 1, 7, "-k", 3, "--json")
    data = [json.loads(line) for line in out.splitlines()]
    assert [one["user"] for one in data] == [1, 7]
    assert [[item["item"] for item in one["items"]] for one in data] == ids.tolist()


def test_features_in_files_are_learned_from_and_add_new_items_and_users(run, folder):
    genres = ["movieId,genres,title"] + [f"{m},{'odd' if m % 2 else 'even'}|all,title {m}" for m in range(1, 31)]
    (folder / "genres.csv").write_text("\n".join(genres) + "\n")
    (folder / "new.csv").write_text("movieId,genres,title\n97,odd|all,new\n98,even|all,newer\n")
    taste = {u: ImplicitALS.load(folder / "model.safetensors").recommend(u, 1)[0][0] % 2 for u in range(1, 41)}
    ages = ["userId,group"] + [f"{u},{'o' if taste[u] else 'e'}" for u in taste]
    (folder / "ages.csv").write_text("\n".join(ages) + "\n")
    (folder / "nobody.csv").write_text("userId,group\n900,o\n901,e\n")
    code, out, _ = run("fit", "ratings.csv", *TABLE, "-o", "f.safetensors", "--factors", 4, "--random-state", 0,
                       "--item-features", "genres.csv", "--user-features", "ages.csv")  # fmt: skip
    assert code == 0
    assert "genres: tags, 3 features, 0 rows without" in out
    code, out, _ = run("recommend", "f.safetensors", "--user-features", "nobody.csv", "--users", 900, 901,
                       "-k", 5, "--json")  # fmt: skip
    lists = [json.loads(line) for line in out.splitlines()]
    assert [one["user"] for one in lists] == [900, 901]
    assert sum(item["item"] % 2 for item in lists[0]["items"]) > sum(item["item"] % 2 for item in lists[1]["items"])
    _, out, _ = run("recommend", "f.safetensors", "--users", 1, "-k", 32, "--keep-seen", "--item-features", "new.csv")
    assert {"97", "98"} <= set(re.findall(r"\b9\d\b", out))
    code, _, _ = run("fit", "ratings.csv", *TABLE, "-o", "b.safetensors", "--model", "bpr", "--factors", 4,
                     "--item-features", "genres.csv")  # fmt: skip
    assert code == 0
    _, out, _ = run("recommend", "b.safetensors", "--users", 1, "-k", 32, "--keep-seen", "--item-features", "new.csv")
    assert {"97", "98"} <= set(re.findall(r"\b9\d\b", out))


def test_recommend_takes_a_file_of_users_or_all_and_writes_files(run, folder):
    (folder / "users.txt").write_text("1\n7\n")
    by_file, by_name = (run("recommend", "model.safetensors", *who, "-k", 2)[1]
                        for who in (("--users-file", "users.txt"), ("--users", 1, 7)))  # fmt: skip
    assert by_file == by_name
    assert run("recommend", "model.safetensors", "--all", "-k", "2")[1].count("\n") == 81
    code, out, _ = run("recommend", "model.safetensors", "--all", "-k", "2", "-o", "all.parquet")
    assert (code, out) == (0, "80 rows in all.parquet\n")
    import pyarrow.parquet as pq

    assert pq.read_table(folder / "all.parquet").column_names == ["user", "item", "score", "rank"]
    seen = run("recommend", "model.safetensors", "--users", 1, "-k", 30, "--keep-seen")[1]
    assert seen.count("\n") == 31
    ImplicitALS.from_factors(np.ones((3, 2)), np.ones((4, 2))).save(folder / "factors.safetensors")
    _, _, error = run("recommend", "factors.safetensors", "--all")
    assert "or its factors were set by hand): pass user_items, or --keep-seen if this call has it" in error


def test_a_file_of_users_may_come_from_a_spreadsheet_but_not_be_empty(run, folder):
    (folder / "users.txt").write_bytes(b"\xef\xbb\xbf1\r\n\r\n7 \r\n")
    by_file = run("recommend", "model.safetensors", "--users-file", "users.txt", "-k", 2)
    assert by_file == run("recommend", "model.safetensors", "--users", 1, 7, "-k", 2)
    (folder / "users.txt").write_text("\n")
    code, out, err = run("recommend", "model.safetensors", "--users-file", "users.txt")
    assert (code, out) == (1, "")
    assert "'users.txt' must hold user ids, one per line, got none" in err


def test_titles_are_found_where_one_file_has_numbers_and_the_other_strings(run, folder):
    (folder / "mixed.csv").write_text("who,what\na,3\na,007\nb,3\nb,007\nc,3\n")
    (folder / "numbers.csv").write_text("id,name\n3,Three\n8,Eight\n")
    assert run("fit", "mixed.csv", "--user", "who", "--item", "what", "-o", "mixed.safetensors")[0] == 0
    out = run("similar", "mixed.safetensors", "--items", "007", "--titles", "numbers.csv")[1]
    assert [row[1::3] for row in lines(out)[1:]] == [["3", "Three"]]
    (folder / "numbers.csv").write_text("id,name\n8,Eight\n")
    code, _, err = run("similar", "mixed.safetensors", "--items", "007", "--titles", "numbers.csv")
    assert code == 1
    assert "must have titles of the model's items, such as '007', got ids such as '8'" in err


@pytest.mark.parametrize("dtype", ["int64", "float64", "decimal128(38, 0)"])
def test_titles_are_found_whatever_type_the_ids_of_their_file_have(run, folder, dtype):
    import pyarrow.parquet as pq

    kind = pyarrow.decimal128(38, 0) if "decimal" in dtype else dtype
    ids = pyarrow.array(range(1, 31)).cast(kind)
    pq.write_table(pyarrow.table({"id": ids, "title": [f"<{n}>" for n in range(1, 31)]}), folder / "titles.parquet")
    out = run("similar", "model.safetensors", "--items", 5, "-k", 2, "--titles", "titles.parquet")[1]
    assert [row[4] for row in lines(out)[1:]] == [f"<{row[1]}>" for row in lines(out)[1:]]


def test_ids_that_are_neither_whole_numbers_nor_strings_are_asked_for_by_what_they_look_like(run, folder):
    table = Interactions.from_arrays([1.5, 1.5, "x"], [1, 2, 1])
    ImplicitALS(factors=2).fit(table).save(folder / "odd.safetensors")
    code, out, _ = run("recommend", "odd.safetensors", "--users", "1.5", "x", "--keep-seen", "-k", 1, "--json")
    assert code == 0
    assert [json.loads(line)["user"] for line in out.splitlines()] == [1.5, "x"]


RULES = [("explicit-als", "last"), ("biased-mf", "last"), ("implicit-als", "sum")]


@pytest.mark.parametrize(("model", "merged"), RULES)
def test_of_a_rating_given_twice_the_last_counts_and_of_plays_the_sum(run, folder, model, merged):
    (folder / "twice.csv").write_text("u,i,r\n1,1,2\n1,2,5\n2,1,3\n2,1,4\n")
    out = run("fit", "twice.csv", "--user", "u", "--item", "i", "--value", "r", "--model", model, "--json", "-o", "t")
    data = json.loads(out[1])["data"]
    assert (data["aggregate"], data["value_range"][2]) == (merged, {"last": 5, "sum": 7}[merged])


def test_scores_have_the_digits_of_a_float32_and_no_more(run, folder):
    model = ImplicitALS.load(folder / "model.safetensors")
    score = model.recommend([1], 1)[1][0, 0]
    assert f'"score": {score!s},' in run("recommend", "model.safetensors", "--users", 1, "-k", 1, "--json")[1]


def test_none_and_truth_values_are_parameters_in_any_case(run):
    options = ("--set", "early_stopping=none", "--set", "warm_start=False", "--json", "-o", "none.safetensors")
    code, out, _ = run("fit", "ratings.csv", *TABLE, *options)
    assert code == 0
    parameters = json.loads(out)["parameters"]
    assert (parameters["early_stopping"], parameters["warm_start"]) == (None, False)


def test_similar_and_explain(run, folder):
    model = ImplicitALS.load(folder / "model.safetensors")
    code, out, _ = run("similar", "model.safetensors", "--items", 5, "-k", 2, "--titles", "movies.csv")
    assert code == 0
    assert [int(row[1]) for row in lines(out)[1:]] == model.similar_items(5, 2)[0].tolist()
    item = model.recommend(1, 1)[0][0]
    code, out, _ = run("explain", "model.safetensors", "--user", 1, "--item", item, "-k", "99", "--json")
    data = json.loads(out)
    assert sum(part["contribution"] for part in data["because_of"]) == pytest.approx(data["score"])
    assert data["score"] == pytest.approx(model.predict(1, item))
    assert "score" in run("explain", "model.safetensors", "--user", 1, "--item", item)[1]
    assert run("fit", "ratings.csv", *TABLE, "--model", "popularity", "-o", "p.safetensors")[0] == 0
    code, _, err = run("explain", "p.safetensors", "--user", 1, "--item", item)
    assert code == 1
    said = "'p.safetensors' holds Popularity, which can't explain scores: Blend, EASE, ImplicitALS and ItemKNN can"
    assert err == f"alternant: error: {said}\n"


@pytest.mark.parametrize("split", ["random", "blocked", "leave-one-out", "leave-last-out", "by-time", "new-users"])
def test_evaluate_knows_the_splits(run, split):
    code, out, err = run("evaluate", "ratings.csv", *TABLE, "--split", split, "-k", 5, "--baseline", "--json",
                         "--random-state", 0, "--factors", 4)  # fmt: skip
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert data["split"] == split
    assert data["ImplicitALS"]["means"]["auc"] > data["Popularity"]["means"]["auc"]  # the tastes are planted


def test_evaluate_prints_the_numbers_of_evaluate(run, folder):
    data = Interactions.from_file(folder / "ratings.csv", user="userId", item="movieId")
    train, test = leave_one_out(data, random_state=0)
    expected = evaluate(ImplicitALS(factors=4, random_state=0).fit(train), test, k=5, metrics=["ndcg"])
    code, out, _ = run("evaluate", "ratings.csv", "--user", "userId", "--item", "movieId", "--split", "leave-one-out",
                       "-k", 5, "--metrics", "ndcg", "--factors", 4, "--random-state", 0)  # fmt: skip
    assert code == 0
    assert str(expected) in out
    assert max(map(len, out.splitlines())) <= 80


def test_evaluate_splits_a_store_into_stores_that_are_gone_afterwards(run, folder):
    data = Interactions.from_file(folder / "ratings.csv", user="userId", item="movieId")
    rows, columns = data.matrix.nonzero()
    Interactions.from_batches([(data.user_ids[rows], data.item_ids[columns])], store=folder / "events.store")
    used, killed = (folder / f".alternant-parts-of-events.store-{name}" for name in ("used", "killed"))
    used.mkdir()
    lock = FolderLock(used, "{}")
    stored, before = Interactions.open(folder / "events.store"), sorted(folder.iterdir())
    killed.mkdir()
    code, out, err = run("evaluate", "events.store", "--factors", 4, "--random-state", 0, "--baseline", "-k", 5,
                         "--memory-limit", "1GB")  # fmt: skip
    assert (code, err, sorted(folder.iterdir())) == (0, "", before)
    lock.release()
    train, test = random_split(stored, 0.2, random_state=0, stores=(folder / "train", folder / "test"))
    expected = evaluate(ImplicitALS(factors=4, random_state=0).fit(train), test, k=5)
    assert f"ImplicitALS, split random\n{expected}\n\nPopularity" in out
    code, _, err = run("evaluate", "events.store", "--split", "leave-one-out")
    assert (code, "a store is split at random, got --split leave-one-out: leave it out" in err) == (1, True)


def test_info_of_a_model(run):
    code, out, _ = run("info", "model.safetensors")
    assert code == 0
    assert "model         ImplicitALS" in out
    data = json.loads(run("info", "model.safetensors", "--json")[1])
    assert (data["users"], data["ids"], data["parameters"]["factors"]) == (
        40, {"user": "whole numbers", "item": "whole numbers"}, 4
    )  # fmt: skip
    assert data["fit"]["iterations"] == 8
    assert data["chosen"]["unobserved_weight"] > 0  # "auto" among the parameters
    assert len(data["chosen"]["regularization"]) == 2


def test_a_blend_names_its_models_in_one_line(run, tmp_path):
    options = *TABLE, "--factors", 3, "--random-state", 0, "-o", tmp_path / "m"
    assert run("fit", "ratings.csv", "--model", "blend", *options)[0] == 0
    out = run("info", tmp_path / "m")[1]
    models = r"ImplicitALS\(factors=3, random_state=0\), EASE\(\), Popularity\(\)"
    assert re.search(rf"^chosen +models {models}$", out, re.MULTILINE)


@pytest.mark.parametrize(("arguments", "message"), [
    ("fit nothing.csv --user a --item b -o x.safetensors", "there is no file or store 'nothing.csv'"),
    ("evaluate nothing", "there is no file or store 'nothing'"),
    ("fit ratings.csv --user who --item movieId -o x.safetensors", "--user 'who' must be a column: 'ratings.csv' has"),
    ("fit ratings.csv --user userId --item movieId -o no/x.safetensors", "there is no folder 'no'"),
    ("fit nothing.csv --user userId --item movieId -o .", "'.' is a folder"),
    ("fit ratings.csv --user userId --item movieId --set x=1 -o x", "implicit-als has no parameter 'x'; it has factor"),
    ("fit ratings.csv --user userId --item movieId --model blend --set weights=1,2 -o x",
     "--set weights= must have one number for each of 3 models, got 2"),
    ("fit ratings.csv --user userId --item movieId --set x -o x", "--set must be NAME=VALUE, got 'x'"),
    ("fit ratings.csv --user userId --item movieId --factors 0 -o x", "--factors must be at least 1, got 0"),
    ("fit ratings.csv --user userId --item movieId --set factors=many -o x", "--factors must be a whole number"),
    ("fit movies.csv --user 1 --item movieId --value title -o x", "than --user 1, got the same for both"),
    ("fit twins.csv --user a --item b --value c -o x", "must hold finite numbers in --value 'c', got 'x' in line 2"),
    ("fit twins.csv --user a --item b --value 2019 -o x --no-header", "--user 'a' must be a position from 0 on"),
    ("fit words.tsv --user 0 --item 1 -o x", "pass --no-header if it is data, --header if not"),
    ("fit ratings.csv --user userId --item movieId --item-features words.tsv --header -o x",
     "pass --item-feature-id NAME, with the name of the column of ids, if it is a header, else add one"),
    ("recommend model.safetensors --users 1 --item-features movies.csv --item-feature-id no",
     "--item-feature-id 'no' must be a column"),
    ("fit twins.csv --user a --item b --separator ; -o x", "'a,b,c,2019': pass --separator ','"),
    ("fit twins.csv --user a --item b --value a -o x", "--value 'a' must be a different column"),
    ("evaluate ratings.csv --user userId --item movieId --split new-users --fraction 3", "--fraction must be between"),
    ("evaluate twins.csv --user a --item b --split leave-one-out",
     "--split leave-one-out can't hold out any interaction of 'twins.csv': no user has more than one"),
    ("evaluate twins.csv --user a --item b --metrics rmse --baseline", "ranks items and doesn't predict ratings"),
    ("recommend ratings.csv --users 1", "is not a complete alternant model"),
    ("recommend nothing --users 1", "there is no model file 'nothing'"),
    ("recommend model.safetensors --users 1 99", "users must be users of the fit, such as 1, got 99: leave them out"),
    ("recommend model.safetensors --users 77 99999999999999999999", "such as 1, got 77 and 1 more: pass others"),
    ("recommend model.safetensors --users bob", "user ids of this model are whole numbers, got 'bob'"),
    ("recommend model.safetensors --users-file none.txt", "there is no users file 'none.txt'"),
    ("recommend model.safetensors --all -o lists.xls", "--output must end in .parquet or .csv"),
    ("recommend model.safetensors --all -o no/lists.csv", "there is no folder 'no'"),
    ("recommend model.safetensors --all -o .", "has files that are not of lists, such as"),
    ("recommend model.safetensors --users 1 --part 1/2", "--part is a part of the users of the fit: pass --all with"),
    ("similar model.safetensors --items 77", "items must be items of the fit, such as 1, got 77"),
    ("explain model.safetensors --user 1 --item 77", "items must be items of the fit, such as 1, got 77: pass others"),
    ("evaluate ratings.csv --user userId --item movieId --split by-time",
     "--split by-time needs times: name their column with --time"),
    ("evaluate ratings.csv --user userId --item movieId --metrics ndgc", "--metrics must be among"),
    ("evaluate ratings.csv --user userId --item movieId --fraction 3", "--fraction must be between 0 and 1"),
    ("info ratings.csv", "is not a complete alternant model"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_sentence_with_code_1(run, arguments, message):
    code, out, err = run(*arguments.split())
    assert (code, out) == (1, "")
    assert message in err
    assert err.startswith("alternant: error: ")
    assert "---" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [
    "fit ratings.csv --user userId", "fit", "recommend model.safetensors",
    "recommend model.safetensors --users 1 --all", "recommend model.safetensors --users 1 -k 0", "explain x",
    "recommend model.safetensors --all --part 3/2", "recommend model.safetensors --all --shard-size 0",
    "evaluate ratings.csv --user a --item b --split some",
])  # fmt: skip
def test_wrong_usage_has_code_2(run, arguments):
    code, out, err = run(*arguments.split())
    assert (code, out) == (2, "")
    assert "usage: alternant" in err


@pytest.mark.parametrize("command", ["fit", "recommend", "similar", "explain", "evaluate", "info", "demo"])
def test_the_example_of_every_help_runs(run, command, monkeypatch):
    code, out, _ = run(command, "--help")
    assert code == 0
    (example,) = re.findall(r"^example:\n  alternant (.*)$", out, re.MULTILINE)
    assert example.split()[0] == command
    if command != "demo":  # which has tests of its own
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        code, out, err = run(*shlex.split(example))
        assert (code, err) == (0, "")
        assert out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_and_explains_every_option(run, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = run(name, "--help")[1]
    assert max(map(len, out.splitlines())) <= 80
    parser = argparse.ArgumentParser()
    COMMANDS[name].add_options(parser)
    assert [action.option_strings for action in parser._actions if not action.help] == []


def test_a_terminal_gets_an_aligned_table(run, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    out = run("recommend", "model.safetensors", "--users", 1, "-k", 3, "--titles", "movies.csv")[1]
    assert out.startswith("user  item   score  rank  title\n")
    assert max(map(len, out.splitlines())) <= 40


def test_no_two_ids_look_the_same_in_a_table(capsys, monkeypatch):
    ids = ["a b", "a\tb", "a\nb", '"a b"', '"a\tb']
    for terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda terminal=terminal: terminal, raising=False)
        print_table([{"user": one, "rank": 1} for one in ids])
        lines = capsys.readouterr().out
        if terminal:
            assert len(set(lines.splitlines())) == 1 + len(ids)
        else:
            assert [row[0] for row in csv.reader(io.StringIO(lines), delimiter="\t")] == ["user", *ids]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_nobody_reads_the_output(folder):
    """As in ``alternant recommend ... | head -1``."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "alternant", "recommend", "model.safetensors", "--all", "-k", "30"], cwd=folder,
        stdout=write, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_stopping_a_fit_has_code_130(run, monkeypatch):
    monkeypatch.setattr(ImplicitALS, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("fit", "ratings.csv", *TABLE, "-o", "c.safetensors") == (130, "", "")


# --- columns, titles and ids as they are typed ------------------------------------------------------------------------


def test_a_column_that_is_called_by_a_number_is_meant_and_else_its_position(run):
    for value, greatest in (("2019", 4), ("0", 2)):
        out = run("fit", "twins.csv", "--user", "b", "--item", "c", "--value", value, "--json", "-o", "t.safetensors")
        assert json.loads(out[1])["data"]["value_range"][2] == greatest


@pytest.mark.parametrize("head", ["code,name\n", ""])
@pytest.mark.parametrize("options", [(), ("--title-columns", "0", "1")])
def test_titles_of_items_called_by_words_need_no_word_on_their_header(run, folder, head, options):
    (folder / "films.csv").write_text(head + "".join(f"film-{at},Film {at}\n" for at in range(1, 31)))
    assert run("fit", "words.tsv", "--user", 0, "--item", 1, "--no-header", "-o", "w.safetensors")[0] == 0
    found = run("similar", "w.safetensors", "--items", "film-1", "film-2", "--titles", "films.csv", *options)
    for row in lines(found[1])[1:]:
        assert row[4] == row[1].replace("film-", "Film ")
    assert run("similar", "w.safetensors", "--items", "film-1", "--titles", "films.csv", "--no-header")[0] == 0
    code, _, err = run("similar", "w.safetensors", "--items", "film-1", "--titles", "films.csv", "--title-columns", "x",
                       "y")  # fmt: skip
    assert code == 1
    assert "--title-columns 'x' must be a column" in err


def test_what_is_in_quotes_stays_as_it_is(folder, run):
    (folder / "user=1 header=False.csv").write_text("a,b\n1,2\n")
    _, _, err = run("fit", "user=1 header=False.csv", "--user", "a", "--item", "x", "-o", "x")
    assert "--item 'x' must be a column: 'user=1 header=False.csv' has 'a', 'b'" in err


def test_lists_are_no_longer_than_there_are_items(run):
    for command in (("recommend", "--users", 1, "--keep-seen"), ("similar", "--items", 1)):
        whole = run(command[0], "model.safetensors", *command[1:], "-k", 30)
        assert whole[0] == 0
        assert run(command[0], "model.safetensors", *command[1:], "-k", 10**20) == whole
    rest = ("--user", "userId", "--item", "movieId", "--factors", 2, "--metrics", "ndcg", "--json", "-k")
    assert list(json.loads(run("evaluate", "ratings.csv", *rest, 5, 10**20)[1])["ImplicitALS"]["means"]) == [
        "ndcg@5", "ndcg@30"
    ]  # fmt: skip


@pytest.fixture
def dashes(run, folder):
    """A model with ids that begin with a dash, and a user who has all."""
    (folder / "dashes.csv").write_text("u,i\n-x,-1\n-x,2\n-y,2\nz,-1\n")
    assert run("fit", "dashes.csv", "--user", "u", "--item", "i", "--factors", 2, "-o", "dashes.safetensors")[0] == 0


@pytest.mark.usefixtures("dashes")
def test_ids_that_begin_with_a_dash_are_given_behind_an_equals_sign(run, folder):
    code, out, _ = run("recommend", "dashes.safetensors", "--users=-y", "--users", "z", "--json")
    assert (code, [json.loads(line)["user"] for line in out.splitlines()]) == (0, ["-y", "z"])
    code, _, err = run("recommend", "dashes.safetensors", "--users", "-y")
    assert code == 2
    assert "write a value that begins with a dash as --option=-value" in err


@pytest.mark.usefixtures("dashes")
def test_users_with_nothing_left_to_list_are_not_passed_over(run, folder):
    code, out, err = run("recommend", "dashes.safetensors", "--all", "--json")
    assert (code, err) == (0, "")
    assert [len(json.loads(line)["items"]) for line in out.splitlines()] == [0, 1, 1]
    said = (
        "alternant: warning: no items are left for user -x, who has seen all of them: pass --keep-seen to include "
        "seen items\n"
    )
    code, out, err = run("recommend", "dashes.safetensors", "--users=-x", "--users", "z")
    assert (code, err, len(lines(out))) == (0, said, 2)
    assert run("recommend", "dashes.safetensors", "--all", "-o", "all.csv")[::2] == (0, said)
    assert run("recommend", "dashes.safetensors", "--all", "--keep-seen")[::2] == (0, "")


def test_similar_items_are_items_in_json(run):
    data = json.loads(run("similar", "model.safetensors", "--items", 5, "-k", 1, "--json")[1])
    assert data["item"] == 5
    assert list(data["similar"][0]) == ["item", "score", "rank"]


def test_no_id_is_no_user(run):
    code, out, err = run("recommend", "model.safetensors", "--users", "")
    assert (code, out) == (1, "")
    assert "whole numbers, got ''" in err


def test_what_cannot_be_saved_is_said_before_the_fit(run, folder, monkeypatch):
    import datetime

    import pyarrow.parquet as pq

    monkeypatch.setattr(ImplicitALS, "fit", lambda *_: pytest.fail("it was fitted"))
    pq.write_table(pyarrow.table({"u": [datetime.time(1)], "i": [1]}), folder / "times.parquet")
    code, _, err = run("fit", "times.parquet", "--user", "u", "--item", "i", "-o", "x")
    assert code == 1
    assert "user ids must be strings, numbers, UUIDs, dates or datetimes to be saved, got time" in err


def test_dates_are_ids_as_they_are_written(run, folder):
    import datetime

    import pyarrow.parquet as pq

    days = [datetime.date(2020, 1, day) for day in (1, 2, 2)]
    pq.write_table(pyarrow.table({"u": days, "i": [1, 1, 2]}), folder / "dates.parquet")
    assert run("fit", "dates.parquet", "--user", "u", "--item", "i", "--model", "popularity", "-o", "x")[0] == 0
    code, out, _ = run("recommend", "x", "--users", "2020-01-01", "-k", "1", "--json")
    assert code == 0
    assert json.loads(out)["user"] == "2020-01-01"


# --- files that are none, and streams that are closed -----------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and shells of POSIX")
PYTHON = f"{shlex.quote(sys.executable)} -m alternant"


def shell(folder, command):
    """Run a line of the shell in the folder; ALT stands for the command."""
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("ALT", PYTHON)], cwd=folder, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


FIT = "fit ratings.csv --user userId --item movieId --factors 2"


@pytest.mark.nightly
@posix
def test_pipes_are_refused_as_tables_and_models_and_taken_as_users(folder):
    code, _, err = shell(folder, f"cat ratings.csv | ALT {FIT.replace('ratings.csv', '/dev/stdin')} -o x")
    assert (code, err.count("\n")) == (1, 1)
    assert "'/dev/stdin' is a pipe or a device, but a table is read more than once" in err
    code, _, err = shell(folder, "cat model.safetensors | ALT recommend /dev/stdin --all")
    assert (code, err.count("\n")) == (1, 1)
    assert "'/dev/stdin' is a pipe or a device: pass the path of a regular file" in err
    code, out, _ = shell(folder, "echo 1 | ALT recommend model.safetensors -k 1 --users-file /dev/stdin")
    assert (code, out.count("\n")) == (0, 2)


@pytest.mark.nightly
@posix
def test_a_full_disk_is_one_sentence(folder):
    code, _, err = shell(folder, f"ulimit -f 1; PYTHONDONTWRITEBYTECODE=1 ALT {FIT} --factors 50 -o full.safetensors")
    assert (code, err.count("\n")) == (1, 1)
    assert "error: a model can't be written to 'full.safetensors' (" in err
    assert not (folder / "full.safetensors").exists()
    if os.path.exists("/dev/full"):  # noqa: PTH110
        code, _, err = shell(folder, "ALT recommend model.safetensors --users 1 > /dev/full")
        assert (code, err.count("\n")) == (1, 1)


@pytest.mark.nightly
@posix
def test_closed_streams_are_as_good_as_dev_null(folder):
    assert shell(folder, f"ALT {FIT} -o closed.safetensors >&-") == (0, "", "")
    assert ImplicitALS.load(folder / "closed.safetensors").factors == 2
    assert shell(folder, "ALT recommend model.safetensors --users 1 >&-") == (0, "", "")
    assert shell(folder, "ALT recommend model.safetensors --users 99 2>&-") == (1, "", "")
    code, out, _ = shell(folder, f"ALT {FIT} -o closed.safetensors 2>&- <&-")
    assert code == 0
    assert "saved in closed.safetensors" in out


@pytest.mark.nightly
@posix
def test_a_title_that_the_encoding_lacks_is_escaped(folder):
    (folder / "french.csv").write_text("1,élan\n", encoding="utf-8")
    rest = "recommend model.safetensors --users 1 --keep-seen -k 30 --titles french.csv --title-columns 0 1"
    code, out, err = shell(folder, f"PYTHONIOENCODING=ascii ALT {rest}")
    assert (code, err) == (0, "")
    assert "\\xe9lan" in out
    code, out, _ = shell(folder, f"PYTHONIOENCODING=ascii ALT {rest} --json")
    assert "élan" in {item["title"] for item in json.loads(out)["items"]}


@posix
def test_a_model_can_be_written_to_a_pipe(folder):
    command = f"mkfifo pipe; (cat pipe > piped.safetensors) & ALT {FIT} -o pipe; wait; test -p pipe"
    code, _, err = shell(folder, command)
    assert (code, err) == (0, "")
    assert ImplicitALS.load(folder / "piped.safetensors").factors == 2


# --- outputs that are inputs ------------------------------------------------------------------------------------------


def _links(folder, name):
    """Other names of a file: spellings, and links where the system has them."""
    (folder / "sub").mkdir(exist_ok=True)
    yield name
    yield f"./{name}"
    yield f"sub/../{name}"
    yield str(folder / name)
    for link, make in (("symbolic", os.symlink), ("hard", os.link)):
        other = folder / f"{link}.csv"
        other.unlink(missing_ok=True)
        make(folder / name, other)
        yield other.name
    around = folder / "around"
    if not around.exists():
        around.symlink_to(folder, target_is_directory=True)
    yield f"around/{name}"


SAME = [
    ("ratings.csv", "fit {input} --user userId --item movieId -o {output}"),
    ("titles.csv", "recommend model.safetensors --users 1 --titles {input} -o {output}"),
    ("users.csv", "recommend model.safetensors --users-file {input} -o {output}"),
    ("model.csv", "recommend {input} --all -o {output}"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize(("name", "command"), SAME, ids=[name for name, _ in SAME])
def test_no_command_replaces_what_it_reads(run, folder, tmp_path, monkeypatch, name, command):
    for source in ("ratings.csv", "movies.csv", "model.safetensors"):
        shutil.copy(folder / source, tmp_path / source)
    shutil.copy(folder / "movies.csv", tmp_path / "titles.csv")
    shutil.copy(folder / "model.safetensors", tmp_path / "model.csv")
    (tmp_path / "users.csv").write_text("1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ImplicitALS, "fit", lambda *_: pytest.fail("it was fitted"))
    before = (tmp_path / name).read_bytes()
    for other in _links(tmp_path, name):
        for given, output in ((name, other), (other, name)):
            code, out, err = run(*command.format(input=given, output=output).split())
            assert (code, out) == (1, ""), err
            assert err.startswith("alternant: error: --output must be a different file from "), err
            assert err.count("\n") == 1
            assert (tmp_path / name).read_bytes() == before
    listed = sorted(path.name for path in tmp_path.iterdir())
    assert not [one for one in listed if one.startswith(".")]


def test_names_of_one_file_in_two_cases_of_letters_are_the_same_where_the_system_says_so(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    assert same_file(tmp_path / "a.csv", tmp_path / "A.csv") == (tmp_path / "A.csv").exists()
    assert not same_file(tmp_path / "a.csv", tmp_path / "b.csv")
    assert not same_file(os.devnull, os.devnull)  # nothing is lost there


def test_an_output_that_is_no_input_is_replaced(run, folder):
    (folder / "old.csv").write_text("old\n")
    assert run("recommend", "model.safetensors", "--users", 1, "-k", 1, "-o", "old.csv")[0] == 0
    assert (folder / "old.csv").read_text().startswith("user,item,score,rank\n")


# --- ratings that are not there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.traits.feedback != "implicit"])
@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_ratings_and_likes_need_a_column_of_values(run, name, command):
    rest = ["-o", "none.safetensors"] if command == "fit" else []
    code, out, err = run(command, "ratings.csv", "--user", "userId", "--item", "movieId", "--model", name, *rest)
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"alternant: error: --model {name} learns from .*: name the column .* with --value\n", err)


def test_ratings_are_not_added_up_on_demand(run, folder):
    (folder / "twice.csv").write_text("u,i,r\n1,1,2\n1,2,5\n2,1,3\n2,1,4\n")
    table = ("twice.csv", "--user", "u", "--item", "i", "--value", "r", "--model", "explicit-als")
    code, _, err = run("fit", *table, "--aggregate", "sum", "-o", "twice.safetensors")
    assert code == 1
    assert "make the Interactions with --aggregate 'last', or --aggregate 'mean'" in err
    assert run("fit", *table, "--aggregate", "mean", "-o", "twice.safetensors")[0] == 0


# --- text -------------------------------------------------------------------------------------------------------------


def test_quotes_and_decimal_commas_of_a_table(run, folder):
    (folder / "quotes.tsv").write_text('u\ti\tr\na\t"weird al" yankovic\t2,5\nb\tx\t1\nb\ty\t2\n')
    table = ("fit", "quotes.tsv", "--user", "u", "--item", "i", "--value", "r", "-o", "quotes.safetensors")
    code, _, err = run(*table)
    assert code == 1
    assert "a quote on or shortly after line 2 is never closed, or is closed in the middle of a field: pass " in err
    assert "pass --no-quotes if" in err
    code, _, err = run(*table, "--no-quotes")
    assert code == 1
    assert "must hold finite numbers in --value 'r', got '2,5' in line 2: pass --decimal ','" in err
    assert run(*table, "--no-quotes", "--decimal", ",")[0] == 0
    assert run("similar", "quotes.safetensors", "--items", '"weird al" yankovic')[0] == 0
    (folder / "both.tsv").write_text('u\ti\tr\na\t"b\t1\nc\td"\t2\n')
    both = ("fit", "both.tsv", *table[2:])
    assert "pass --quotes or --no-quotes" in run(*both)[2]
    assert run(*both, "--no-quotes")[0] == run(*both, "--quotes")[0] == 0


def test_the_separator_that_is_advised_can_be_typed(run, folder):
    (folder / "tabs.csv").write_text("u\ti\n1\t2\n2\t3\n")
    table = ("fit", "tabs.csv", "--user", "0", "--item", "1", "-o", "tabs.safetensors")
    code, _, err = run(*table)
    assert code == 1
    (advice,) = re.findall(r"pass (--separator .*)$", err, re.MULTILINE)
    assert run(*table, *shlex.split(advice))[0] == 0


def test_quotes_in_titles(run, folder):
    (folder / "said.csv").write_text('movieId,title\n1,"weird al" yankovic\n2,x\n')
    titles = ("similar", "model.safetensors", "--items", 2, "-k", 30, "--titles", "said.csv")
    assert "pass --no-quotes" in run(*titles)[2]
    assert '"weird al" yankovic' in run(*titles, "--no-quotes")[1]


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_long_field_ends_in_no_traceback(run, folder, where):
    rows = ["1,1,x", "2,2,y"]
    rows.insert(0 if where == "first" else 2, "3,3," + "z" * 200_000)
    (folder / "long.csv").write_text("u,i,text\n" + "\n".join(rows) + "\n")
    assert run("fit", "long.csv", "--user", "u", "--item", "i", "-o", "long.safetensors")[0] == 0
    (folder / "long.csv").write_text("u,i,text\n" + "\n".join(rows) + "\n1,2\n")
    code, _, err = run("fit", "long.csv", "--user", "u", "--item", "i", "-o", "long.safetensors")
    assert (code, err.count("\n")) == (1, 1)
    assert "line 5 has 2 fields, but the header has 3" in err


# --- parameters become options ----------------------------------------------------------------------------------------

P = parameter


@pytest.mark.parametrize(("said", "plain", "heard"), [
    (f"pass {P('separator')}=", "pass separator=", "pass --separator="),
    (f"{P('random_state', -1)} or {P('k', 2.5)}", "random_state=-1 or k=2.5", "--random-state -1 or -k 2.5"),
    (f"{P('header', True)}, {P('header', False)}", "header=True, header=False", "--header, --no-header"),
    (f"{P('quote', None)}, {P('quote', chr(34))}", "quote=None, quote='\"'", "--no-quotes, --quotes"),
    (f"{P('epochs')} must be", "epochs must be", "--iterations must be"),
    (f"{P('user', 'a=b')} must be", "user='a=b' must be", "--user 'a=b' must be"),
    (f"{P('regularization', (1,))}", "regularization=(1,)", "--regularization (1,)"),
    (f"{P('weighting')} must be", "weighting must be", "weighting must be"),
    ("user must be k=1", "user must be k=1", "user must be k=1"),
])  # fmt: skip
def test_parameters_become_options_and_the_rest_stays(said, plain, heard):
    names = ("user", "separator", "header", "quotes", "k", "random_state", "iterations", "regularization")
    arguments = argparse.Namespace(**dict.fromkeys(names))
    error = refusal(ValueError, said)
    assert type(error) is ValueError
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == plain
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert cli._in_options(one, arguments) == heard
        assert cli._in_options(about(one, "x.csv: "), arguments) == "x.csv: " + heard
    assert cli._in_options(ValueError(plain), arguments) == plain


CHECKS = [
    (lambda: validation.check_integer("k", 0, 1), "k"),
    (lambda: validation.check_integer("k", "x", 1), "k"),
    (lambda: validation.check_number("alpha", math.inf, 0), "alpha"),
    (lambda: validation.check_number("alpha", "x", 0), "alpha"),
    (lambda: validation.check_share("fraction", 2), "fraction"),
    (lambda: validation.check_choice("aggregate", "x", ("sum",)), "aggregate"),
    (lambda: validation.check_boolean("header", 1), "header"),
    (lambda: validation.check_dtype("dtype", "x"), "dtype"),
    (lambda: validation.check_pair("regularization", (1, 2, 3), ("users", "items")), "regularization"),
    (lambda: validation.check_range("rating_range", (1, 0)), "rating_range"),
    (lambda: validation.check_range("rating_range", 1), "rating_range"),
    (lambda: validation.check_range("rating_range", (1, math.nan)), "rating_range"),
    (lambda: validation.check_marker("missing_value", "x"), "missing_value"),
    (lambda: validation.random_generator(-1), "random_state"),
    (lambda: threads.resolve_num_threads(0), "num_threads"),
    (lambda: ImplicitALS(regularization=-1), "regularization"),
    (lambda: ImplicitALS(factors=0), "factors"),
    (lambda: Interactions.from_arrays([1], [1], aggregate="x"), "aggregate"),
]


@pytest.mark.parametrize("number", range(len(CHECKS)))
def test_every_check_tells_which_parameter_it_refuses(number):
    call, name = CHECKS[number]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert caught.value.parameter == name
    assert str(caught.value).startswith(name)


def test_unknown_users_get_what_is_asked_for(run, folder):
    model = ImplicitALS.load(folder / "model.safetensors")
    asked = ["recommend", "model.safetensors", "--users", "77", "5", "-k", "3", "--json", "--unknown"]
    code, out, _ = run(*asked, "empty")
    assert code == 0
    assert [len(json.loads(line)["items"]) for line in out.splitlines()] == [0, 3]
    code, out, _ = run(*asked, "cold-start")
    first = [item["item"] for item in json.loads(out.splitlines()[0])["items"]]
    assert (code, first) == (0, model.cold_start(3)[0].tolist())


@pytest.fixture(scope="module")
def events(folder):
    """A table of views, purchases and dislikes with dates."""
    rng = np.random.default_rng(0)
    rows = ["who,what,did,on"]
    for _ in range(900):
        user, item = rng.integers(0, 40), rng.integers(0, 20)
        did = "dislike" if (user - item) % 2 else "buy" if rng.random() < 0.4 else "view"
        rows.append(f"{user},{item},{did},2024-01-{rng.integers(1, 32):02}")
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    return ["events.csv", "--user", "who", "--item", "what", "--kind", "did", "--time", "on"]


def test_events_are_weighted_by_kind_and_age(run, folder, events):
    weights = ["--weight", "view=0.2", "--weight", "buy=1", "--weight", "dislike=-1"]
    code, out, err = run("fit", *events, *weights, "--half-life", "10d", "-o", "e.safetensors", "--factors", "2",
                         "--random-state", "0")  # fmt: skip
    assert (code, err) == (0, "")
    assert "dislike: " in out
    table = Events.from_file(folder / "events.csv", user="who", item="what", kind="did", time="on")
    expected = ImplicitALS(factors=2, random_state=0).fit(
        table.interactions({"view": 0.2, "buy": 1, "dislike": -1}, half_life="10d")
    )
    saved = ImplicitALS.load(folder / "e.safetensors")
    np.testing.assert_array_equal(saved.item_factors, expected.item_factors)
    for split in ("random", "leave-last-out", "by-time", "new-users"):
        code, out, err = run("evaluate", *events, *weights, "--target", "buy", "--split", split, "-k", "5", "--factors",
                             "2", "--json", "--half-life", "90d")  # fmt: skip
        assert (code, err) == (0, "")
        assert 0.2 < json.loads(out)["ImplicitALS"]["means"]["ndcg@5"] <= 1


@pytest.mark.parametrize(("options", "message"), [
    (["--weight", "vew=1"], "--weight must be a kind of these events, 'buy', 'dislike', 'view', got 'vew'"),
    (["--weight", "view"], "--weight must be KIND=NUMBER, got 'view'"),
    (["--weight", "view=a"], "--weight must be KIND=NUMBER, got 'view=a'"),
    (["--half-life", "3"], "--half-life must have a unit, since times are dates: pass '3d' for days, "),
    (["--model", "biased-mf", "--value", "on"], "--model biased-mf learns from ratings, which can't be weighted and "),
    (["--aggregate", "max"], "--aggregate must be sum with --kind or --half-life, got max: leave it out"),
    ([], "--target must name the kind of event to predict, one of buy, dislike, view, got nothing"),
    (["--target", "bought"], "--target must name the kind of event to predict, one of buy, dislike, view, got 'boug"),
])  # fmt: skip
def test_bad_options_of_events_are_refused(run, events, options, message):
    command = ["evaluate"] if not options or options[0] == "--target" else ["fit", "-o", "no.safetensors"]
    code, out, err = run(command[0], *events, *command[1:], *options)
    assert (code, out) == (1, "")
    assert err.startswith(f"alternant: error: {message}")


def test_weights_without_kinds_are_refused(run, events):
    code, _, err = run("fit", *events[:5], "--weight", "view=1", "-o", "no.safetensors")
    assert (code, err) == (1, "alternant: error: --weight needs the kinds of events: name their column with --kind\n")


def test_a_fit_with_a_checkpoint_is_resumed(run, folder):
    fit = ["fit", "ratings.csv", *TABLE, "--factors", "4", "--random-state", "0", "--checkpoint", "state"]
    assert run(*fit, "--iterations", "3", "--every", "2", "-o", "part.safetensors")[0] == 0
    assert run(*fit, "--iterations", "8", "-o", "whole.safetensors")[0] == 0
    whole = ImplicitALS.load(folder / "whole.safetensors")
    again = ImplicitALS(factors=4, random_state=0).fit(whole.interactions_.to_scipy())
    np.testing.assert_array_equal(whole.user_factors, again.user_factors)
    code, _, err = run(*fit, "--factors", "5", "-o", "other.safetensors")
    assert (code, "belongs to a fit with factors=4, not 5" in err) == (1, True)
    code, _, err = run(*fit, "-o", "state/checkpoint.safetensors")
    assert (code, "--output must not be in the folder of --checkpoint" in err) == (1, True)
    ease = ["fit", "ratings.csv", *TABLE, "--model", "ease", "-o", "ease.safetensors"]
    code, _, err = run(*ease, "--checkpoint", "state")
    assert (code, "--model ease has no iterations to save" in err) == (1, True)


@pytest.mark.parametrize("text", [".3", "+0.3", "3e-1"])
def test_numbers_may_be_written_as_python_writes_them(run, text):
    assert run("fit", "ratings.csv", *TABLE, "--model", "biased-mf", "--set", f"learning_rate={text}",
               "--iterations", "1", "-o", "n.safetensors")[0] == 0  # fmt: skip
