"""``alternant serve``: a web page of a saved model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..inputs import load_model, read_titles
from ..options import add_titles

if TYPE_CHECKING:
    import argparse

HELP = "show a saved model on a web page: lists, similar items and explanations"
EXAMPLE = "serve model.safetensors --titles movies.csv"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model_file", metavar="MODEL", help="a saved model")
    add_titles(parser)
    only = "the address to listen on (default: 127.0.0.1, which only this machine can reach)"
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=only)
    port = "the port to listen on, or 0 for any free one (default: 8000)"
    parser.add_argument("--port", type=int, default=8000, metavar="N", help=port)


def run(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    from ...serve import Catalogue, make_server  # imports http.server, which no other command needs

    model = load_model(arguments)
    server = make_server(Catalogue(model, read_titles(model, arguments)), arguments.host, arguments.port)
    with server:
        if not server.is_local():
            print(
                f"alternant: warning: everybody who can reach {arguments.host} can see this model, without a password "
                "or encryption: leave out --host unless you trust that network",
                file=sys.stderr,
            )
        print(f"{type(model).__name__} is at {server.url} (Ctrl-C ends the server)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nended", file=sys.stderr)
