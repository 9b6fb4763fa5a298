"""The server of the page: GET only, with every answer in one piece, and safe from the pages of other sites.

A page of another site can make a browser send requests here. It can't read the answers, since no header allows other
origins; nor by DNS rebinding, since the host that a request names must be an address, localhost or the host chosen at
the start. Requests change nothing, so that there is nothing to forge.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from .._utils.messages import message_of
from .catalogue import MOST, Catalogue

log: logging.Logger = logging.getLogger("alternant.serve")
LONGEST_TARGET = 16384  # characters of a request's path and query
MOST_PARAMETERS = 1100
LONGEST_TEXT, LONGEST_NUMBER = 1000, 100  # characters of a parameter
AT_A_TIME = 8  # answers that are computed; further requests wait
SECONDS = 30  # after which an idle connection is closed
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/script.js": ("script.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
REFUSED = (ArithmeticError, IndexError, MemoryError, TypeError, ValueError)  # errors with a sentence for the page


def make_server(catalogue: Catalogue, host: str = "127.0.0.1", port: int = 8000) -> Server:
    """Return a server that listens; ``serve_forever()`` answers requests, each in a thread of its own.

    Parameters
    ----------
    catalogue : Catalogue
    host : str
        The address to listen on. By default only this machine can connect: there is no password and no encryption.
    port : int
        0 for any free one.

    Returns
    -------
    Server

    Raises
    ------
    OSError
        If the address is not one of this machine, or the port is in use.
    """
    if not host:
        raise ValueError("host must be an address of this machine, such as 127.0.0.1, got an empty text: leave it out")
    try:
        return Server(catalogue, host, port)
    except OverflowError:
        raise ValueError(f"port must be from 0 to 65535, got {port}: choose another one") from None
    except OSError as error:
        raise type(error)(_why_not(error, host, port)) from None


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use: choose another one with --port, or any free one with --port 0"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for the system: choose one from 1024 with --port"
    return f"host must be an address of this machine, such as 127.0.0.1, got {host!r}: {error.strerror or error}"


class Server(ThreadingHTTPServer):
    """A server of one catalogue; made by `make_server`."""

    daemon_threads: bool = True  # Ctrl-C does not wait for idle connections
    block_on_close: bool = False
    allow_reuse_address: bool = os.name != "nt"  # where it would let two servers share a port
    address_family: int
    catalogue: Catalogue
    host: str
    server_name: str
    server_port: int
    _slots: threading.BoundedSemaphore

    def __init__(self, catalogue: Catalogue, host: str, port: int) -> None:
        self.catalogue, self.host = catalogue, host
        self._slots = threading.BoundedSemaphore(AT_A_TIME)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking a name server for the host's name as the base class does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.server_port}/"

    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Note a connection that broke, or a mistake of ours, in the log."""
        log.debug("a request failed", exc_info=True)

    def accepts(self, host: str | None) -> bool:
        """Whether a request names a host that no other site can control."""
        try:
            name = urlsplit(f"//{host}").hostname if host else None
            if name is None:
                return False
            if name in ("localhost", self.host.casefold()):
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class _Refusal(Exception):
    """A request that is refused: a status and one sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "alternant", ""
    timeout = SECONDS

    def do_GET(self) -> None:
        """Answer with a file of the page or with JSON."""
        try:
            self._check()
            parts = _split(self.path)
            if parts.path in FILES:
                name, kind = FILES[parts.path]
                self._send(HTTPStatus.OK, _file(name), kind)
                return
            if parts.path not in ANSWERS:
                known = ", ".join([*FILES, *ANSWERS])
                raise _Refusal(HTTPStatus.NOT_FOUND, f"there is nothing at this path: there are {known}")
            with self.server._slots:
                answer = ANSWERS[parts.path](self.server.catalogue, _Query(parts.query))
            self._send_json(HTTPStatus.OK, answer)
        except _Refusal as refusal:
            self._refuse(refusal.status, str(refusal))
        except REFUSED as error:
            self._refuse(HTTPStatus.BAD_REQUEST, message_of(error, str))
        except OSError:  # the reader has left
            self.close_connection = True
        except Exception:
            log.exception("a request failed: %s", _printable(self.path))
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the server made a mistake, which is in its log")

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.do_GET()

    def _check(self) -> None:
        if not self.server.accepts(self.headers.get("Host")):
            raise _Refusal(
                HTTPStatus.FORBIDDEN,
                "the request must name this server by its address, by localhost or by the host given as --host",
            )
        if self.headers.get("Sec-Fetch-Site") == "cross-site" and self.headers.get("Sec-Fetch-Mode") != "navigate":
            raise _Refusal(HTTPStatus.FORBIDDEN, "the request comes from a page of another site")
        if len(self.path) > LONGEST_TARGET:
            raise _Refusal(
                HTTPStatus.REQUEST_URI_TOO_LONG, f"the address must have at most {LONGEST_TARGET} characters"
            )
        if self.headers.get("Transfer-Encoding") or self.headers.get("Content-Length", "0") != "0":
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a request must have no body")

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = self.close_connection or status != HTTPStatus.BAD_REQUEST  # a body may follow
        self._send_json(status, {"error": " ".join(sentence.split())})

    def _send_json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, json.dumps(value, allow_nan=False).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what the base class refuses, such as another method, in the same way as the rest."""
        self.close_connection = True
        status = HTTPStatus(code)
        unknown = status in (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.METHOD_NOT_ALLOWED)
        reason = ": only GET and HEAD requests are answered" if unknown else ""
        self._send_json(status, {"error": f"{status.phrase.lower()}{reason}"})

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Note a request in the log rather than on stderr."""
        log.info("%s %s", self.address_string(), _printable(format % arguments))


class _Query:
    """The parameters of a request."""

    def __init__(self, text: str) -> None:
        try:
            self.values = parse_qs(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
        except ValueError:
            sentence = f"a request must have at most {MOST_PARAMETERS} parameters: leave some out"
            raise _Refusal(HTTPStatus.BAD_REQUEST, sentence) from None

    def text(self, name: str) -> str | None:
        """Return a text, or None if it is not given."""
        found = self.values.get(name)
        if found is None:
            return None
        if len(found) > 1:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"{name} must be given once, got {len(found)} times: leave one")
        _check_length(name, found[0])
        return found[0]

    def needed(self, name: str) -> str:
        """Return a text that must be given."""
        found = self.text(name)
        if found is None:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"{name} is needed: add {name}= to the address")
        return found

    def who(self) -> tuple[str | None, list[str]]:
        """Return the user of the fit, or None and the items that a new user has picked."""
        user, items = self.text("user"), self.values.get("items", [])
        for item in items:
            _check_length("items", item)
        if (user is None) == (not items):
            found = "both" if items else "neither"
            raise _Refusal(
                HTTPStatus.BAD_REQUEST, f"either user= or items= must be given, got {found}: pass one of them"
            )
        return user, items

    def k(self, name: str = "k", default: int = 10) -> int:
        """Return the length of a list."""
        text = self.text(name) or str(default)
        if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MOST):
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"{name} must be a whole number from 1 to {MOST}, got {text!r}")
        return int(text)


def _check_length(name: str, text: str) -> None:
    if len(text) > LONGEST_TEXT or (text.isdecimal() and len(text) > LONGEST_NUMBER):
        raise _Refusal(
            HTTPStatus.BAD_REQUEST,
            f"{name} must have at most {LONGEST_TEXT} characters, or {LONGEST_NUMBER} digits, got {len(text)}: shorten "
            "it",
        )


def _split(path: str) -> SplitResult:
    try:
        return urlsplit(path)
    except ValueError:
        raise _Refusal(HTTPStatus.BAD_REQUEST, "the address of the request is not valid") from None


def _printable(text: str) -> str:
    """Return a text without characters that drive a terminal or begin a line."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


ANSWERS: dict[str, Callable[[Catalogue, _Query], dict[str, Any]]] = {
    "/api/model": lambda catalogue, _: catalogue.describe(),
    "/api/search": lambda catalogue, query: catalogue.search(query.text("q") or "", query.k("limit", 20)),
    "/api/recommend": lambda catalogue, query: catalogue.recommend(*query.who(), query.k()),
    "/api/similar": lambda catalogue, query: catalogue.similar(query.needed("item"), query.k()),
    "/api/explain": lambda catalogue, query: catalogue.explain(*query.who(), query.needed("item"), query.k()),
}


@cache
def _file(name: str) -> bytes:
    return files(__package__).joinpath("page", name).read_bytes()
