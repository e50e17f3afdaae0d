"""Account files: bytes in, records or a refusal out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.identities import accounts, missing

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.accounts import (
    MAX_FIELD_BYTES,
    MAX_FILE_BYTES,
    MAX_LINE_BYTES,
    MAX_LINES,
    Account,
    Group,
    account_named,
    account_with_uid,
    group_file,
    group_named,
    groups_listing,
    gshadow_file,
    passwd_file,
    shadow_file,
)

FILES = [passwd_file, group_file, shadow_file, gshadow_file]
LINE = b"app:x:1000:1001:The App:/home/app:/bin/bash\n"


def refusal_of(content: bytes) -> Refusal:
    refusal = passwd_file("/etc/passwd", content).refusal
    assert refusal is not None
    return refusal


def test_a_line_of_passwd_becomes_an_account() -> None:
    assert passwd_file("/etc/passwd", LINE).usable() == (
        Account("app", 1000, 1001, "/home/app", "/bin/bash"),
    )


def test_a_line_of_group_becomes_a_group_with_its_members() -> None:
    content = b"empty:x:5:\nboth:!:6:a,b\n"
    assert group_file("/etc/group", content).usable() == (
        Group("empty", 5, ()),
        Group("both", 6, ("a", "b")),
    )


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\n\n# comment\n  \n", b"#app:x:1000:1001:::\n", b"\r\n"]
)
def test_blank_lines_and_comments_are_no_accounts(content: bytes) -> None:
    assert passwd_file("/etc/passwd", content).usable() == ()


def test_a_last_line_without_newline_counts() -> None:
    assert len(passwd_file("/etc/passwd", LINE.rstrip(b"\n")).usable()) == 1


def test_a_carriage_return_stays_in_the_last_field_as_the_c_library_has_it() -> None:
    (account,) = passwd_file("/etc/passwd", LINE.replace(b"\n", b"\r\n")).usable()
    assert account.shell == "/bin/bash\r"
    (group,) = group_file("/etc/group", b"g:x:7:\r\n").usable()
    assert group.members == ()


@pytest.mark.parametrize(
    "line",
    [
        b"app:x:1000",  # T25: three fields
        b"app:x:1000:1001:::/bin/sh:more",
        b"app:x::1001:::/bin/sh",
        b"app:x:01000:1001:::/bin/sh",
        b"app:x:+1000:1001:::/bin/sh",
        b"app:x: 1000:1001:::/bin/sh",
        b"app:x:4294967295:1001:::/bin/sh",
        "app:x:١:1001:::/bin/sh".encode(),
        b"app:x:1000:0x1:::/bin/sh",
        b":x:1000:1001:::/bin/sh",
        b" app:x:1000:1001:::/bin/sh",
        b"+::::::",
        b"+nis:x:1000:1001:::/bin/sh:",
        b"app:x:1000:1001:a\0b::/bin/sh",
        b"app:x:1000:1001:a\x1bb::/bin/sh",
        b"app:x:1000:1001:\rroot::/bin/sh",
        b"app:x:1000:1001:caf\xe9::/bin/sh",
        "a\u200bpp:x:1000:1001:::/bin/sh".encode(),
    ],
)
def test_a_line_that_could_be_read_in_two_ways_is_refused_with_its_number(line: bytes) -> None:
    refusal = refusal_of(b"# first\n" + line + b"\n")
    assert refusal.code is codes.FILE_MALFORMED
    assert "/etc/passwd, line 2:" in refusal.cause
    assert refusal.cause.isascii()


@pytest.mark.parametrize(
    "content",
    [
        (b"#" * MAX_LINE_BYTES + b"\n") * (MAX_FILE_BYTES // MAX_LINE_BYTES),
        b"\n" * MAX_LINES,
        b"#" * (MAX_LINE_BYTES + 1),
        b"app:x:1000:1001:" + b"g" * (MAX_FIELD_BYTES + 1) + b"::/bin/sh",
        b"app:x:1000:1001:" + "é".encode() * (MAX_FIELD_BYTES // 2 + 1) + b"::/bin/sh",
        b"n" * (MAX_FIELD_BYTES + 1) + b":x:1000:1001:::/bin/sh",
    ],
)
def test_a_file_a_line_or_a_field_over_its_limit_is_refused(content: bytes) -> None:
    assert refusal_of(content).code is codes.FILE_TOO_LARGE


def test_what_reaches_a_limit_exactly_is_read() -> None:
    gecos = b"g" * MAX_FIELD_BYTES
    assert passwd_file("/etc/passwd", b"a:x:1:1:" + gecos + b"::").usable()
    comments = b"#" * (MAX_LINE_BYTES) + b"\n"
    filler = comments * (MAX_FILE_BYTES // len(comments))
    content = filler + b"#" * (MAX_FILE_BYTES - len(filler))
    assert len(content) == MAX_FILE_BYTES
    assert passwd_file("/etc/passwd", content).usable() == ()
    assert passwd_file("/etc/passwd", b"\n" * (MAX_LINES - 1)).usable() == ()


def test_a_group_may_have_as_many_members_as_its_line_holds() -> None:
    members = ",".join(f"user{number}" for number in range(800)).encode()
    (group,) = group_file("/etc/group", b"big:x:900:" + members).usable()
    assert len(group.members) == 800


@pytest.mark.parametrize("second", [LINE, b"app:x:0:0::/root:/bin/sh\n"])
def test_a_second_entry_of_a_name_is_refused_even_if_it_is_the_same(second: bytes) -> None:
    assert refusal_of(LINE + second).code is codes.AMBIGUOUS_ACCOUNT


def test_a_refusal_of_the_reader_is_kept_until_somebody_needs_the_file() -> None:
    file = passwd_file("/etc/passwd", missing("/etc/passwd"))
    assert file.missing
    assert file.present() == ()
    with pytest.raises(Refusal) as caught:
        file.usable()
    assert caught.value.code is codes.FILE_MISSING


def test_a_malformed_file_is_not_a_missing_one() -> None:
    file = passwd_file("/etc/passwd", b"junk")
    assert not file.missing
    with pytest.raises(Refusal):
        file.present()


def test_look_ups_find_the_one_entry_or_refuse() -> None:
    known = accounts()
    assert account_named(known, "app", "--uid").uid == 1000
    assert group_named(known, "staff", "--gid").gid == 50
    numbered = account_with_uid(known, 1234)
    assert numbered is not None
    assert numbered.gid == 1236
    assert account_with_uid(known, 77) is None
    assert {group.gid for group in groups_listing(known, "app")} == {44, 50}
    for question, code in [
        (lambda: account_named(known, "nobody-here", "--uid"), codes.UNKNOWN_ACCOUNT),
        (lambda: group_named(known, "nobody-here", "--gid"), codes.UNKNOWN_ACCOUNT),
        (lambda: account_with_uid(known, 1300), codes.AMBIGUOUS_ACCOUNT),
    ]:
        with pytest.raises(Refusal) as caught:
            question()
        assert caught.value.code is code


LINES = st.lists(
    st.lists(
        st.sampled_from(["", "0", "1", "01", "a", "root", ",", "\r", "x\0", "é"]), max_size=9
    ).map(":".join),
    max_size=6,
).map(lambda lines: "\n".join(lines).encode())


@given(st.binary(max_size=300) | LINES)
def test_any_bytes_become_records_or_a_refusal(content: bytes) -> None:
    for parse in FILES:
        file = parse("/etc/file", content)
        assert file.content == content
        if file.refusal is None:
            names = [record.name for record in file.records]
            assert len(set(names)) == len(names)
            assert all(names)
        else:
            assert file.records == ()
            assert file.refusal.cause.startswith("/etc/file")
            assert file.refusal.cause.isascii()


def test_the_files_of_this_machine_are_well_formed() -> None:
    for path, parse in [("/etc/passwd", passwd_file), ("/etc/group", group_file)]:
        with open(path, "rb") as file:
            assert parse(path, file.read()).usable()
