"""Recursive ownership against ``chown -hR``, as ratios from one run. Needs root.

    python scripts/bench_workspace.py [--files 10000 100000] [--rounds 7] [--dir DIRECTORY] [--json]

Three trees, because they differ in what has to be done: an image's own (root's), one of an earlier
identity (whose directories are first taken from it), and one that already is the identity's. Each
side is measured in turn, round by round, and the least disturbed rounds are compared; the medians
stand beside them. ``chown`` is started as a program, as one would; that is within the figure.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from supervisor.workspace.execute import execute
from supervisor.workspace.plan import Owner, TakeOver

FILES_PER_DIRECTORY = 50
FANOUT = 10
EARLIER, IDENTITY = 4000, 5000


def make_tree(root: str, files: int) -> None:
    """A tree like an unpacked project: directories in directories, small files in the leaves."""
    for number in range(files // FILES_PER_DIRECTORY):
        parts = [str(number // FANOUT**2), str(number // FANOUT % FANOUT), str(number % FANOUT)]
        leaf = os.path.join(root, *parts)
        os.makedirs(leaf)
        for index in range(FILES_PER_DIRECTORY):
            with open(f"{leaf}/file{index}", "wb"):
                pass


def chown(root: str, uid: int) -> float:
    start = time.perf_counter()
    subprocess.run(["chown", "-hR", f"{uid}:{uid}", root], check=True)
    return time.perf_counter() - start


def ours(root: str) -> float:
    step = TakeOver(
        path=root, owner=Owner(uid=IDENTITY, gid=IDENTITY), may_chown=True, reason="bench"
    )
    start = time.perf_counter()
    execute((step,))
    return time.perf_counter() - start


def measure(root: str, before: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of (chown -hR, ours), all starting from files owned by ``before``."""
    theirs, our = [], []
    for _ in range(rounds):
        chown(root, before)
        theirs.append(chown(root, IDENTITY))
        chown(root, before)
        our.append(ours(root))
    return theirs, our


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dir", default=None, help="where to make the trees (default: TMPDIR)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    if not arguments.json:
        print(f"{'files':>8}  {'tree of':<18}{'chown -hR':>10}{'ours':>10}  ratio  median")
    for files in arguments.files:
        root = os.path.realpath(tempfile.mkdtemp(prefix="bench-workspace-", dir=arguments.dir))
        try:
            make_tree(root, files)
            os.chmod(root, 0o755)
            starts = (("root", 0), ("earlier identity", EARLIER), ("the identity", IDENTITY))
            for name, before in starts:
                theirs, our = measure(root, before, arguments.rounds)
                row = {
                    "files": files,
                    "tree": name,
                    "chown_ms": min(theirs) * 1e3,
                    "ours_ms": min(our) * 1e3,
                    "median_ratio": statistics.median(our) / statistics.median(theirs),
                }
                rows.append(row)
                if not arguments.json:
                    show(row)
        finally:
            shutil.rmtree(root)
    if arguments.json:
        print(json.dumps({"rows": rows}))


def show(row: dict) -> None:
    times = f"{row['chown_ms']:>7.1f} ms{row['ours_ms']:>7.1f} ms"
    ratios = f"{row['ours_ms'] / row['chown_ms']:>7.2f}{row['median_ratio']:>8.2f}"
    print(f"{row['files']:>8}  {row['tree']:<18}{times}{ratios}", flush=True)


if __name__ == "__main__":
    main()
