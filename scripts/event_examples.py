"""Write supervisor/events/EXAMPLES.md: one example of each event, in both forms.

tests/unit/test_event_records.py compares the file with what the code makes. Run this, and read the
difference, when a record is changed on purpose.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.event_examples import EXAMPLES, stamp  # noqa: E402

from supervisor.events.line import line_of  # noqa: E402
from supervisor.events.record import record_of  # noqa: E402

TARGET = ROOT / "supervisor/events/EXAMPLES.md"
HEAD = """# Events by example

One example of each event: its OCSF class, its readable line, its JSON record (one line in the
stream, laid out here). Written by `scripts/event_examples.py`; a test compares.

| event | OCSF class | activity | severity | line |
|---|---|---|---|---|
"""


def document() -> str:
    """The whole file."""
    records = [record_of(event, stamp(n)) for n, event in enumerate(EXAMPLES, 1)]
    rows = [
        f"| `{one['metadata']['event_code']}` | {one['class_uid']} {one['class_name']} "
        f"| {one['activity_id']} {one['activity_name']} | {one['severity']} | `{line_of(one)}` |"
        for one in records
    ]
    bodies = [
        f"## {one['metadata']['event_code']}\n\n```json\n{json.dumps(one, indent=1)}\n```\n"
        for one in records
    ]
    return HEAD + "\n".join(rows) + "\n\n" + "\n".join(bodies)


if __name__ == "__main__":
    TARGET.write_text(document())
