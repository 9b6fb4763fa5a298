"""A plain TCP transfer: what the links of namespaces.sh carry.

The receiver first: `python -m benchmarks.distributed.network 10.213.0.1`; the sender has `--send 500000000` besides.
"""

from __future__ import annotations

import argparse
import json
import socket
import time

PORT = 8787


def main() -> None:
    """Receive all bytes of one connection and answer with their number, or send and print bytes a second."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("address", help="of the receiver")
    parser.add_argument("--send", type=int, metavar="BYTES")
    options = parser.parse_args()
    if options.send is None:
        count = 0
        with socket.create_server((options.address, PORT)) as server:
            connection, _ = server.accept()
            with connection:
                while received := connection.recv(1 << 20):
                    count += len(received)
                connection.sendall(str(count).encode())
        return
    with socket.create_connection((options.address, PORT)) as connection:
        start = time.perf_counter()
        connection.sendall(bytes(options.send))
        connection.shutdown(socket.SHUT_WR)
        count = int(connection.recv(100))
        seconds = time.perf_counter() - start
    print(json.dumps({"bytes": count, "seconds": seconds, "bytes a second": count / seconds}))


if __name__ == "__main__":
    main()
