"""``scripts/bench`` knows every bench and refuses others; what they measure is for people."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TABLE = [sys.executable, "scripts/bench_table.py"]


def test_every_bench_beside_it_has_rows_in_the_table():
    listed = subprocess.run([*TABLE, "--list"], cwd=PROJECT, capture_output=True, text=True)
    scripts = {path.stem.removeprefix("bench_") for path in PROJECT.glob("scripts/bench_*.py")}

    assert set(listed.stdout.split()) == scripts - {"table"}


def test_a_name_that_is_no_bench_is_wrong_usage():
    done = subprocess.run([*TABLE, "nonsense"], cwd=PROJECT, capture_output=True, text=True)

    assert (done.returncode, "nonsense" in done.stderr) == (2, True)
