"""The server of ``alternant serve``, without a browser: answers, refusals, safety, the end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from pages import EVIL, running, small_model

from alternant import BPR, EASE, ExplicitALS, ImplicitALS, Interactions, Popularity
from alternant.cli import app as cli
from alternant.serve import Catalogue, make_server
from alternant.serve import server as server_module


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def server(model):
    with running(Catalogue(*model)) as server:
        yield server


@pytest.fixture(scope="module")
def ask(server):
    """Ask for a path; return status, headers and the JSON or the text."""

    def ask(path="/", method="GET", headers=(), body=None, **query):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        target = path + ("?" + urlencode(query, doseq=True) if query else "")
        connection.request(method, target, body=body, headers=dict(headers))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        kind = answer.headers["Content-Type"]
        return answer.status, answer.headers, json.loads(text) if kind == "application/json" and text else text

    return ask


def test_lists_are_those_of_the_model_with_titles_and_history(ask, model):
    fitted, titles = model
    status, _, answer = ask("/api/recommend", user="user 7", k=4)
    ids, scores = fitted.recommend("user 7", 4)
    assert status == 200
    assert [one["item"] for one in answer["items"]] == ids.tolist()
    assert [one["score"] for one in answer["items"]] == pytest.approx(scores.tolist())
    assert [one["title"] for one in answer["items"]] == [titles[item] for item in ids]
    row = fitted.user_ids_.tolist().index("user 7")
    assert answer["n_history"] == len(answer["history"]) == fitted.interactions_.indptr[row + 1] - (
        fitted.interactions_.indptr[row]
    )
    assert not {one["item"] for one in answer["history"]} & set(ids)


def test_picked_items_are_folded_in(ask, model):
    fitted, _ = model
    _, _, answer = ask("/api/recommend", items=["id&3", "id&4"], k=40)
    assert [one["item"] for one in answer["history"]] == ["id&3", "id&4"]
    assert len(answer["items"]) == len(fitted.item_ids_) - 2
    ids, _ = fitted.recommend(user_items=fitted_rows(fitted, ["id&3", "id&4"]), k=5)
    assert [one["item"] for one in answer["items"][:5]] == ids[0].tolist()


def fitted_rows(fitted, items):
    from scipy import sparse

    at = np.flatnonzero(np.isin(fitted.item_ids_, items))
    return sparse.csr_array((np.ones(len(at)), (np.zeros(len(at), int), at)), shape=(1, len(fitted.item_ids_)))


def test_similar_items_and_explanations_are_those_of_the_model(ask, model):
    fitted, _ = model
    _, _, answer = ask("/api/similar", item="id&3", k=3)
    assert [one["item"] for one in answer["items"]] == fitted.similar_items("id&3", 3)[0].tolist()
    _, _, answer = ask("/api/explain", user="user 7", item="id&3", k=100)
    expected = fitted.explain("user 7", "id&3")
    assert [one["item"] for one in answer["because_of"]] == expected.items.tolist()
    assert sum(one["contribution"] for one in answer["because_of"]) == pytest.approx(answer["score"], rel=1e-4)
    _, _, answer = ask("/api/explain", items=["id&5"], item="id&3")
    assert [one["item"] for one in answer["because_of"]] == ["id&5"]


def test_ids_that_are_empty_are_ids():
    data = Interactions.from_arrays(["", "b", "c", "b"], ["", "y", "z", "z"])
    fitted = ImplicitALS(factors=2, random_state=0).fit(data)
    with (
        running(Catalogue(fitted)) as server,
        closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as connection,
    ):
        for target, known in (("/api/recommend?user=", fitted.recommend("")[0]), ("/api/similar?item=", ["y", "z"])):
            connection.request("GET", target)
            answer = json.loads(connection.getresponse().read())
            assert {one["item"] for one in answer["items"]} == {item for item in known if item is not None}


def test_the_log_has_no_characters_that_drive_a_terminal(server, caplog):
    caplog.set_level("INFO", "alternant.serve")
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(b"GET /\x1b[31m\x0dforged HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while connection.recv(4096):
            pass
    logged = "".join(record.getMessage() for record in caplog.records)
    assert r"\x1b[31m" in logged
    assert logged.isprintable()


def test_the_search_finds_every_word_of_titles_and_ids_the_best_first(ask, model):
    _, titles = model
    _, _, answer = ask("/api/search", q="LOVE film", limit=100)
    assert {one["item"] for one in answer["items"]} == {item for item, title in titles.items() if "love" in title}
    _, _, answer = ask("/api/search", q="id&7")
    assert answer["items"][0]["item"] == "id&7"
    _, _, answer = ask("/api/search", q="ilm", limit=3)
    assert len(answer["items"]) == 3
    assert ask("/api/search", q="nothing like it")[2] == {"items": []}
    assert ask("/api/search")[2] == {"items": []}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"user": "nobody"}, "users must be users of the fit, such as 'user 0', got nobody: pass others"),
        ({"items": ["id&1", EVIL]}, "items must be items of the fit"),
        ({}, "either user= or items= must be given, got neither: pass one of them"),
        ({"user": "user 1", "items": "id&1"}, "either user= or items= must be given, got both"),
        ({"user": "user 1", "k": "0"}, "k must be a whole number from 1 to 1000, got '0'"),
        ({"user": "user 1", "k": "1e9"}, "k must be a whole number from 1 to 1000, got '1e9'"),
        ({"user": "x" * 1001}, "user must have at most 1000 characters"),
        ({"items": "9" * 101}, "items must have at most 1000 characters, or 100 digits, got 101: shorten it"),
        ({"items": ["x"] * 1200}, "a request must have at most 1100 parameters"),
        ({"user": ["user 1", "user 2"]}, "user must be given once, got 2 times"),
    ],
)
def test_a_wrong_question_gets_one_sentence(ask, query, sentence):
    status, headers, answer = ask("/api/recommend", **query)
    assert status == 400
    assert answer["error"].startswith(sentence)
    assert "\n" not in answer["error"]
    assert headers["Content-Type"] == "application/json"


def test_the_page_is_three_files_that_ask_no_other_host(ask):
    for path, kind in (("/", "text/html"), ("/style.css", "text/css"), ("/script.js", "text/javascript")):
        status, headers, text = ask(path)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert "://" not in text.replace("https://www.w3.org/WAI/ARIA/apg/patterns/combobox/", "")
        assert "innerHTML" not in text
    status, headers, text = ask("/", method="HEAD")
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 1000
    for path in ("/../server.py", "/page/index.html", "/%2e%2e/server.py", "//etc/passwd"):
        assert ask(path)[0] == 404


def test_every_answer_forbids_scripts_frames_and_other_origins(ask):
    for path in ("/", "/api/model", "/nothing", "/api/recommend"):
        _, headers, _ = ask(path, headers={"Origin": "http://evil.example"})
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:8000", 200), ("[::1]:8000", 200), ("192.168.1.5", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil.example:80", 403), ("", 403),
        ("[", 403), ("user@evil.example", 403),
    ],
)  # fmt: skip
def test_a_name_that_another_site_may_control_is_refused(ask, host, status):
    assert ask("/api/model", headers={"Host": host})[0] == status


def test_a_page_of_another_site_may_link_here_but_not_ask(ask):
    assert ask("/api/model", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})[0] == 403
    assert ask("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200


def test_a_name_given_as_host_is_accepted(model):
    with running(Catalogue(*model), host="localhost") as server:
        server.host = "Recommender.Test"
        assert server.accepts("recommender.test:80")
        assert not server.accepts("other.test")
        assert server.is_local()


def test_bodies_other_methods_and_long_addresses_are_refused(ask):
    assert ask("/", method="POST", body="a=b")[0] == 501
    assert ask("/", method="GET", body="a=b")[0] == 413
    assert ask("/api/search", q="x" * 20_000)[0] == 414
    assert ask("/api/search", q="x" * 70_000)[0] == 414
    assert ask("/api/model", method="DELETE")[2]["error"].endswith("only GET and HEAD requests are answered")


def test_broken_requests_end_their_own_connection_only(server, ask):
    many = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200
    for data in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", many):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
            connection.sendall(data + b"\r\n")
            connection.settimeout(5)
            assert b"Traceback" not in connection.recv(65536)
    assert ask("/api/model")[0] == 200


def test_a_mistake_of_ours_is_told_without_its_traceback(ask, monkeypatch, caplog):
    monkeypatch.setitem(server_module.ANSWERS, "/api/model", lambda *_: {}["missing"])
    status, _, answer = ask("/api/model")
    assert (status, answer["error"]) == (500, "the server made a mistake, which is in its log")
    assert "KeyError" in caplog.text


def test_requests_at_the_same_time_get_their_own_answers(ask, model):
    fitted, _ = model
    users = [f"user {number}" for number in range(60) if f"user {number}" in fitted.user_ids_] * 2
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda user: ask("/api/recommend", user=user, k=3)[2], users))
    for user, answer in zip(users, answers, strict=True):
        assert [one["item"] for one in answer["items"]] == fitted.recommend(user, 3)[0].tolist()


def test_models_that_cannot_explain_or_do_not_know_histories_say_so(tmp_path):
    fitted, titles = small_model(BPR(factors=2, epochs=1, random_state=0))
    with pytest.raises(ValueError, match="BPR can't explain scores: models that can are Blend, EASE"):
        Catalogue(fitted, titles).explain("user 1", [], "id&1")
    assert len(Catalogue(fitted).recommend(None, ["id&1"], 3)["items"]) == 3
    fitted, _ = small_model(EASE())
    fitted.save(tmp_path / "m.safetensors", interactions=False)
    without = Catalogue(EASE.load(tmp_path / "m.safetensors", mmap=True))
    described = without.describe()
    assert not described["knows_history"]
    assert not described["explains"]
    assert described["explains_picked"]
    answer = without.recommend("user 1", [], 100)
    assert answer["history"] == []
    assert len(answer["items"]) == 40
    with pytest.raises(ValueError, match="saved without the interactions"):
        without.explain("user 1", [], "id&1")
    assert without.explain(None, ["id&2"], "id&1")["because_of"][0]["item"] == "id&2"


def test_scores_that_are_not_finite_are_null():
    fitted, _ = small_model()
    fitted.user_factors = fitted.user_factors * np.float32(1e30)
    fitted.item_factors = fitted.item_factors * np.float32(1e30)
    assert Catalogue(fitted).recommend("user 7", [], 1)["items"][0]["score"] is None


def test_picked_items_of_a_model_of_ratings_have_the_best_rating():
    fitted, _ = small_model(ExplicitALS(factors=2, iterations=2, random_state=0))
    rows, numbers = Catalogue(fitted)._picked(["id&1", "id&2"])
    assert rows.data.tolist() == [5.0, 5.0]
    assert len(numbers) == 2


def test_ids_that_are_whole_numbers_stay_exact():
    model = Popularity().fit(np.eye(3))
    assert Catalogue(model).describe()["users"] == ["0", "1", "2"]
    assert Catalogue(model).recommend("1", [], 2)["history"] == [{"item": "1", "title": None}]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def model_file(model, tmp_path):
    model[0].save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_the_command_serves_until_ctrl_c(model_file):
    if os.name == "nt":
        pytest.skip("Windows has no SIGINT for a single process")
    command = [sys.executable, "-m", "alternant", "serve", str(model_file), "--port", "0"]
    restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **restore)
    line = process.stdout.readline()
    assert line.startswith("ImplicitALS is at http://127.0.0.1:"), process.stderr.read()
    port = int(line.split(":")[2].split("/")[0])
    idle = socket.create_connection(("127.0.0.1", port))  # a connection that sends nothing does not delay the end
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", f"/api/recommend?user={quote('user 1')}")
    assert json.loads(connection.getresponse().read())["items"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "\nended\n")
    idle.close()
    connection.close()


def test_a_port_in_use_and_a_wrong_address_get_one_sentence(model_file, model, capsys):
    with make_server(Catalogue(model[0]), port=0) as taken:
        for options, sentence in (
            (["--port", str(taken.server_port)], f"port {taken.server_port} of 127.0.0.1 is in use: choose another"),
            (["--port", "70000"], "port must be from 0 to 65535, got 70000"),
            (["--host", "192.0.2.1", "--port", "0"], "host must be an address of this machine, such as 127.0.0.1"),
        ):
            assert cli.main(["serve", str(model_file), *options]) == 1
            said = capsys.readouterr().err
            assert said.startswith(f"alternant: error: {sentence}")
            assert said.count("\n") == 1


def test_other_machines_are_let_in_on_request_only_and_with_a_warning(model_file, monkeypatch, capsys):
    monkeypatch.setattr(server_module.Server, "serve_forever", lambda self: None)
    assert cli.main(["serve", str(model_file), "--port", "0"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["serve", str(model_file), "--port", "0", "--host", "0.0.0.0"]) == 0
    assert "everybody who can reach 0.0.0.0 can see this model" in capsys.readouterr().err
