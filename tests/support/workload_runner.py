"""Runs in the sandbox: commands from a JSON file, several at once; their ends as JSON on stdout.

Standard library only, for the agent image's own Python. argv: FILE of [{name, argv, deadline_s}].
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 3


def run(row):
    try:
        done = subprocess.run(
            row["argv"], capture_output=True, timeout=row["deadline_s"], stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as late:
        return {"status": None, "output": repr((late.stdout, late.stderr))}
    output = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
    return {"status": done.returncode, "output": output}


def main():
    with open(sys.argv[1]) as file:
        rows = json.load(file)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        ends = list(threads.map(run, rows))
    json.dump({row["name"]: end for row, end in zip(rows, ends, strict=True)}, sys.stdout)


if __name__ == "__main__":
    main()
