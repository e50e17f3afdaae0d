"""Runs in the sandbox, as the workload: the network rows of the attack list. One JSON object.

Standard library only, for the agent image's own Python. Every row says what happened, in words
that the tests compare: "connected", "reset", "alert 49", an errno's name, bytes that came back.
Judging it is the tests' business. Python is allowed to reach echo, skip and the names below
``public``; only curl may reach curl-only.
"""

import odd_packets  # noqa: F401, I001 - its first act is the workload's

import json
import sys
import time

import hellos  # noqa: F401 - the modules register their rows
import names  # noqa: F401
import programs  # noqa: F401
import reach  # noqa: F401
from talk import ROWS


def main():
    found = {}
    for name in sys.argv[1:] or ROWS:
        print(f"row {name} at {time.monotonic():.1f}", file=sys.stderr, flush=True)
        try:
            found[name] = ROWS[name]()
        except Exception as error:
            found[name] = {"error": repr(error)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
