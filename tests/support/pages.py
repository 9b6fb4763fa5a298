"""A model whose ids and titles would do harm if they were taken as HTML, and a server of it."""

import threading
from contextlib import contextmanager

import numpy as np

from alternant import ImplicitALS, Interactions
from alternant.serve import Catalogue, make_server

EVIL = "<img src=x onerror=\"document.title='harmed'\"><script>document.title='harmed'</script>"


def small_model(model=None):
    """Return a fitted model and titles by item."""
    rng = np.random.default_rng(0)
    users = [f"user {number}" for number in rng.integers(0, 60, 900)]
    items = [f"id&{number}" for number in rng.integers(0, 40, 900)]
    data = Interactions.from_arrays(users, items, rng.integers(1, 6, 900), aggregate="last")
    titles = {item: f"Film {at} {'of love' if at % 3 else EVIL}" for at, item in enumerate(data.item_ids.tolist())}
    return (model or ImplicitALS(factors=4, random_state=0)).fit(data), titles


@contextmanager
def running(catalogue: Catalogue, **options):
    """Yield a server that answers on a free port."""
    with make_server(catalogue, port=0, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
