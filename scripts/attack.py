"""scripts/attack [FORM…]: run the list of attacks as the workload of real containers; print a table.

Needs what scripts/setup builds. Exit 1 if an attack got through or an allowed act failed.
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]
sys.dont_write_bytecode = True

from support.attack_forms import NAMES, forms  # noqa: E402
from support.attacks import attack  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("form", nargs="*", choices=(*NAMES, []), default=[])
    chosen = parser.parse_args().form or NAMES
    with forms() as known:
        outcomes = {name: attack(known[name]) for name in chosen}
    failures = []
    print(f"{'attack':64}" + "".join(f"{name:>14}" for name in chosen))
    for row in next(iter(outcomes.values())):
        cells = []
        for name in chosen:
            held, paired = outcomes[name][row]["held"], outcomes[name][row]["paired"]
            cells.append("held" if held == paired == "ok" else "FAILED")
            failures += [f"{name}: {row}: {text}" for text in (held, paired) if text != "ok"]
        print(f"{row:64}" + "".join(f"{cell:>14}" for cell in cells))
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
