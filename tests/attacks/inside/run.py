"""Run every attack as the workload; print one JSON object: results by "row name"."""

import json
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import calls  # noqa: F401
import files  # noqa: F401
import identity  # noqa: F401
import ipc  # noqa: F401
from attack import ATTACKS, Broken


def outcome(act):
    try:
        act()
    except Broken as broken:
        return f"got through: {broken}"
    except BaseException:
        return traceback.format_exc(limit=-3)
    return "ok"


results = {
    f"{one.row} {one.name}": {"held": outcome(one.attempt), "paired": outcome(one.paired)}
    for one in ATTACKS
}
print("ATTACKS " + json.dumps(results), flush=True)
