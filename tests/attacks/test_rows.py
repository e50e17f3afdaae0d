"""Every row of the list of attacks has a test, here or in the room that meets it at the start.

Rows that are tried from inside the sandbox carry their number in tests/attacks/inside. The others
are met before the workload runs; this table says where.
"""

from pathlib import Path

import pytest
from support.attacks import rows

TESTS = Path(__file__).parents[1]
# B13 and B14 (agents' autorun files) come with their preset, B19 with uploads, D5 and D6 with
# sessions: later parts.
WANTED = (
    *("A1", "A2", "A3", "A5", "A6", "A7", "A9", "A11"),
    *("B1", "B2", "B3", "B5", "B6", "B7", "B9", "B10", "B11", "B15", "B17", "B18"),
    *("C1", "C2", "C3", "C5", "C6", "C7", "C9", "C10", "C11", "C13", "C14", "C15", "C17", "C18"),
    *("C19", "D1", "D2", "D3", "D7", "D9", "D10"),
)
ELSEWHERE = {
    "A1": "container/test_run.py::test_a_uid_that_is_not_one_canonical_number_above_zero_stops",
    "A9": "attacks/test_attacks_inside.py::test_a_uid_of_a_helper_is_refused",
    # the fence exempts nothing by a gid
    "A11": "unit/test_nft_rules.py::",
    "B1": "privileged/test_workspace_races.py::test_a_directory_swapped_for_a_symlink",
    "B2": "privileged/test_workspace_takeover.py::test_a_file_with_a_second_name_is_left",
    "B3": "privileged/test_workspace_takeover.py::test_other_mounts_are_not_entered",
    "B15": "privileged/test_workspace_takeover.py::test_odd_names_change_hands_and_appear_on_one",
    "B17": "privileged/test_workspace_takeover.py::test_privilege_bits_and_file_capabilities_do",
    "C18": "unit/test_seccomp_numbers.py::",
    # the supervisor has the name before the workload exists, and in another network namespace
    "D7": "attacks/test_attacks_inside.py::test_the_proof_can_be_made_again_while_the_workload",
}


@pytest.mark.parametrize("row", WANTED)
def test_the_row_has_a_test(row):
    if row in ELSEWHERE:
        path, _, name = ELSEWHERE[row].partition("::")
        assert f"def {name or 'test_'}" in (TESTS / path).read_text()
    else:
        assert any(found.split()[0] == row for found in rows())
