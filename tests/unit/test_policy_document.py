"""L5, L6: text that would mean different things to different readers is no policy."""

import pytest
from support.loading import codes_of, errors_of, findings_of, loaded

from policy.document import MAX_BYTES, MAX_DEPTH


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "policy.empty"),
        (b"\n# only a comment\n", "policy.empty"),
        (b"---\n", "policy.empty"),
        (b"null\n", "policy.empty"),
        (b"~", "policy.empty"),
        (b"--- null\n...\n", "policy.empty"),
    ],
)
def test_an_empty_file_or_null_is_refused_as_a_policy(text, code):
    assert codes_of(text) == {code}


def test_a_policy_of_its_version_alone_allows_nothing():
    policy = loaded("version: 1\n")

    assert policy.network_policies == ()
    assert policy.filesystem.read_write == ()


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (b"version: 1\nversion: 1\n", "policy.duplicate-key", 2),
        (b"version: 1\nprocess: {run_as_user: '7', run_as_user: '8'}\n", "policy.duplicate-key", 2),
        (b"version: !!int 1\n", "policy.tag", 1),
        (b"version: 1\nprocess: !!python/object:os.system {}\n", "policy.tag", 2),
        (b"version: 1\nlandlock: {compatibility: !x best_effort}\n", "policy.tag", 2),
        (b"%YAML 1.1\n---\nversion: 1\n", "policy.tag", 1),
        (b"version: 1\nprocess:\n  <<: {run_as_user: '7'}\n", "policy.merge-key", 3),
        (b"version: 1\n---\nversion: 1\n", "policy.many-documents", 2),
        (b"version: 1\n? [a]\n: b\n", "policy.bad-key", 2),
        (b"version: 1\n'': b\n", "policy.bad-key", 2),
        (b'version: 1\n"a\\x07b": b\n', "policy.bad-key", 2),
        (b"version: 1\nprocess: *missing\n", "policy.syntax", 2),
        (b"version: 1\nprocess: &x [*x]\n", "policy.syntax", 2),
        (b"version: 1\nprocess: {run_as_user: *}\n", "policy.syntax", 2),
        (b"version: [1\n", "policy.syntax", 2),
        (b"\tversion: 1\n", "policy.syntax", 1),
        (b"version: 1\n\0", "policy.not-text", 2),
        (b"\xef\xbb\xbfversion: 1\n", "policy.not-text", 1),
        (b"version: 1\nprocess: \xff\n", "policy.not-text", 2),
        ("version: 1\n".encode("utf-16"), "policy.not-text", 1),
    ],
)
def test_what_readers_disagree_about_is_refused_with_its_place(text, code, line):
    assert (code, line) in errors_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"version: !!int 1\n", "tag '!!int'"),
        (b"version: !<tag:x> 1\n", "tag 'tag:x'"),
        (b"version: ! 1\n", "tag '!'"),
        (b"version: !a%2541 1\n", "tag '!a%41'"),
        (b"version: !" + b"a" * 100_000 + b" 1\n", f"tag '!{'a' * 79}'"),
    ],
)
def test_a_tag_is_told_as_it_is_written_and_no_more_than_its_beginning(text, said):
    assert [found.message for found in findings_of(text) if found.code == "policy.tag"] == [said]


def test_a_key_in_another_case_is_unknown_and_the_remedy_names_the_right_one():
    (finding,) = [f for f in findings_of("version: 1\nProcess: {}\n") if f.severity == "error"]

    assert (finding.code, finding.line, finding.column) == ("policy.unknown-key", 2, 1)
    assert "Did you mean 'process'?" in finding.remedy


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "True", "FALSE", "1", '"true"', "y", ""]
)
def test_only_true_and_false_are_booleans(word):
    text = f"version: 1\nfilesystem_policy: {{include_workdir: {word}}}\n"

    assert codes_of(text) == {"policy.wrong-kind"}


@pytest.mark.parametrize(
    "word", ['"1"', "01", "0x1", "1.0", "1e0", "+1", ".nan", ".inf", "0b1", "1_0"]
)
def test_only_plain_decimal_digits_are_numbers(word):
    assert codes_of(f"version: {word}\n") == {"policy.wrong-kind"}


@pytest.mark.parametrize(
    "word", ["no", "12:30:00", "2026-11-21", "1.5", "0x7f", "null", "12e3", ".inf"]
)
def test_a_word_that_some_reader_takes_for_something_else_needs_quotes(word):
    refused = f"version: 1\nfilesystem_policy: {{read_only: [{word}]}}\n"
    quoted = f'version: 1\nfilesystem_policy: {{read_only: ["{word}"]}}\n'

    assert codes_of(refused) == {"policy.wrong-kind"}
    assert codes_of(quoted) == {"policy.bad-path"}  # text now, and no absolute path


def test_an_alias_reads_like_what_it_stands_for():
    policy = loaded("""
        version: 1
        filesystem_policy:
          read_only: &paths [/opt/a, /opt/b]
          read_write: []
        """)
    again = loaded("""
        version: 1
        process: {run_as_user: &id "1001", run_as_group: *id}
        """)

    assert [entry.path for entry in policy.filesystem.read_only] == ["/opt/a", "/opt/b"]
    assert again.process.run_as_group == "1001"


def test_an_alias_bomb_is_refused_before_it_expands():
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        same = b", ".join([b"*a%d" % (level - 1)] * 10)
        lines.append(b"a%d: &a%d [%s]" % (level, level, same))

    assert "policy.too-large" in codes_of(b"\n".join(lines))


def test_a_file_larger_than_a_configmap_is_refused_unread():
    assert codes_of(b"#" * (MAX_BYTES + 1)) == {"policy.too-large"}


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{a: " * 10_000, b"- " * 10_000, b"? " * 10_000])
def test_deep_nesting_is_refused(text):
    assert codes_of(text) & {"policy.too-deep", "policy.syntax"}
    assert len(findings_of(text)) < 5


def test_the_deepest_sound_nesting_is_read_and_one_more_is_not():
    def nested(depth):
        return b"[" * depth + b"]" * depth

    assert "policy.too-deep" not in codes_of(nested(MAX_DEPTH))
    assert "policy.too-deep" in codes_of(nested(MAX_DEPTH + 1))


def test_a_text_of_a_megabyte_is_refused_as_too_large():
    text = b"version: 1\nprocess: {run_as_user: '" + b"a" * 1_000_000 + b"'}\n"

    assert "policy.too-large" in codes_of(text)


def test_ten_thousand_unknown_keys_give_a_bounded_report_that_says_so():
    text = b"".join(b"unknown%d: 1\n" % number for number in range(10_000))

    found = findings_of(text)

    assert len(found) == 501
    assert found[-1].code == "policy.too-many-findings"


def test_every_finding_names_place_path_code_message_and_remedy():
    found = findings_of(
        b"version: 2\nprocess: {run_as_user: root}\nfilesystem_policy: {read_only: [x]}\n"
    )

    assert [(f.line, f.path, f.code) for f in found] == [
        (1, "version", "policy.out-of-range"),
        (2, "process.run_as_user", "policy.bad-identity"),
        (3, "filesystem_policy.read_only[0]", "policy.bad-path"),
    ]
    assert all(f.message and f.remedy and f.file == "policy.yaml" and f.column for f in found)


def test_many_entries_that_are_not_enforced_are_all_reported_and_refuse_nothing():
    entries = "".join(
        f"  e{n}: {{endpoints: [{{host: h{n}.example.com, port: 443, protocol: rest, access: full}}, "
        f"{{host: k{n}.example.com, port: 443, protocol: rest, access: full}}], "
        "binaries: [{path: /x}]}\n"
        for n in range(600)
    )

    policy = loaded(f"version: 1\nnetwork_policies:\n{entries}")

    assert len(policy.not_enforced) == 600
    assert "2 endpoints" in policy.not_enforced[0].message
