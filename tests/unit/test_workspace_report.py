"""Counting, naming and printing what was done to the workspace."""

import json
import time

from supervisor.workspace import codes
from supervisor.workspace.report import (
    NAMED_PATHS,
    SHOWN_CHARACTERS,
    Skip,
    Tally,
    below,
    shown,
)


def test_odd_names_take_one_line_and_no_two_look_alike():
    names = ["new\nline", "new\\nline", "\udcff", "\\xff", "tab\t", "\u202eevil", "ünï"]
    lines = [shown(name) for name in names]
    assert lines == [
        "new\\nline",
        "new\\\\nline",
        "\\xff",
        "\\\\xff",
        "tab\\t",
        "\\u202eevil",
        "ünï",
    ]
    assert len(set(lines)) == len(names)
    assert all(line.isprintable() for line in lines)


def test_a_long_path_shows_its_two_ends():
    line = shown("/start" + "x" * 5000 + "end")
    assert line.startswith("/start")
    assert line.endswith("end")
    assert len(line) == SHOWN_CHARACTERS + 1


def test_the_name_of_a_deep_entry_stays_short():
    path = "/top"
    for _ in range(5000):
        path = below(path, "n" * 255)
    assert len(path) < 2 * SHOWN_CHARACTERS
    assert path.startswith("/top/nnn")


def test_all_skipped_are_counted_and_the_first_are_named():
    tally = Tally()
    for number in range(NAMED_PATHS + 5):
        tally.skip(Skip.HARD_LINK, f"/w/{number}")
    other = Tally(entries=3, changed=2)
    other.skip(Skip.HARD_LINK, "/w/other")
    other.clear("/w/su")
    tally.add(other)
    report = tally.report(time.monotonic(), 60.0)
    assert report.skipped[Skip.HARD_LINK].count == NAMED_PATHS + 6
    assert report.skipped[Skip.HARD_LINK].paths == tuple(f"/w/{n}" for n in range(NAMED_PATHS))
    assert (report.entries, report.changed, report.cleared.paths) == (3, 2, ("/w/su",))


def test_a_report_is_json():
    tally = Tally(entries=1, created=["/sandbox"])
    tally.skip(Skip.OTHER_MOUNT, "/sandbox/mnt")
    report = tally.report(time.monotonic(), 60.0)
    assert json.loads(json.dumps(report.as_dict())) == {
        "entries": 1,
        "changed": 0,
        "created": ["/sandbox"],
        "cleared": {"count": 0, "paths": []},
        "skipped": {"other_mount": {"count": 1, "paths": ["/sandbox/mnt"]}},
        "links": [],
        "seconds": 0.0,
        "deadline_s": 60.0,
        "deadline_hit": False,
    }


def test_codes_are_found_by_their_name():
    assert codes.by_name("workspace.deadline") is codes.DEADLINE
