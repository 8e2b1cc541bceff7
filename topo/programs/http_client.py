# SPDX-License-Identifier: Apache-2.0
"""Many short HTTP connections, several at a time.

    python -m topo.programs.http_client ADDRESS PORT COUNT WORKERS

Prints {"ok": n, "failed": n, "errors": {text: n}}; each request is a TCP connection of its own.
"""

from __future__ import annotations

import collections
import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor


def fetch(address: str, port: int) -> str:
    """ "" when the answer is 200 with a body, else what went wrong."""
    connection = http.client.HTTPConnection(address, port, timeout=10.0)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 and body else f"status {answer.status}"


def main(address: str, port: int, count: int, workers: int) -> None:
    """Run all requests and print the summary."""
    with ThreadPoolExecutor(workers) as pool:
        results = collections.Counter(pool.map(lambda _: fetch(address, port), range(count)))
    succeeded = results.pop("", 0)
    print(json.dumps({"ok": succeeded, "failed": results.total(), "errors": dict(results)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
