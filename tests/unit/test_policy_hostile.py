"""Any bytes give findings or a policy, never another exception, in bounded time (attacks.md L5-L7)."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.example_policy import EXAMPLE
from support.generated import as_document, entry_maps
from support.loading import codes_of, loaded

from policy.findings import PolicyError
from policy.load import load
from policy.model import Policy

# Generous on a loaded machine; what it guards against is minutes.
SECONDS = 20


def outcome(data):
    """The policy, or the findings; anything else is an error of the loader."""
    started = time.process_time()
    try:
        result = load(data, file="hostile.yaml")
    except PolicyError as refused:
        result = refused.findings
        assert any(finding.severity == "error" for finding in result)
        assert all(str(finding).isprintable() for finding in result), result
    assert time.process_time() - started < SECONDS
    return result


@given(st.binary(max_size=400))
def test_any_bytes_are_findings_or_a_policy(data):
    outcome(data)


@given(st.text(max_size=400))
@example("version: 1\u2028process: {}")
@example('a: "\\U00110000"')
@example('a: "\\xZZ"')
@example("%")
@example("%YAML 9.9\n---\n")
@example("%TAG ! x\n---\n")
@example("&")
@example("*a: b")
@example("? ? ?")
@example("|9\n x")
@example(">-\n\n\n x: y")
@example("!<tag:x> a")
@example("a: !!binary \u00e9")
@example("\x85")
@example("{[: }")
@example("- - - -\n  -")
@example("'")
@example('"')
@example("a\n:\n")
@example("\ufffe")
def test_any_text_is_findings_or_a_policy(text):
    outcome(text.encode("utf-8", "surrogatepass"))


_WORDS = st.sampled_from(
    "version network_policies a endpoints host port ports binaries path rules allow method query "
    "supervisor presets accept loopback true false 1 443 * ** /** ~ null <<".split()
)
_STRUCTURE = st.sampled_from(
    [": ", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", "&a ", "*a ", "!t ", "'", '"', "#", "|", ">", "? ", "---\n", "...\n"]
)  # fmt: skip


@given(st.lists(st.one_of(_WORDS, _STRUCTURE), max_size=60).map("".join))
def test_any_mixture_of_the_languages_own_words_is_findings_or_a_policy(text):
    outcome(text.encode())


@given(st.data())
def test_any_damage_to_a_sound_policy_is_findings_or_a_policy(data):
    text = bytearray(EXAMPLE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.sampled_from(["replace", "delete", "insert"]))
        if kind == "delete":
            del text[place : place + data.draw(st.integers(1, 30))]
        else:
            byte = data.draw(st.integers(0, 255))
            text[place : place + (kind == "replace")] = bytes([byte])
    outcome(bytes(text))


_plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda below: st.one_of(
        st.lists(below, max_size=3), st.dictionaries(st.text(max_size=8), below, max_size=3)
    ),
    max_leaves=8,
)


@given(entry_maps.filter(bool), st.data())
def test_any_value_anywhere_in_the_structure_is_findings_or_a_policy(entries, data):
    def spoil(node):
        if isinstance(node, dict) and node and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(sorted(node)))
            return {**node, key: spoil(node[key])}
        if isinstance(node, list) and node and data.draw(st.booleans()):
            return [spoil(node[0]), *node[1:]]
        return data.draw(_plain)

    outcome(as_document(spoil(entries)))


NESTED = "version: 1\nnetwork_policies: {a: {binaries: [{path: /x}], endpoints: [{host: a.example.com, port: 1, protocol: rest, rules: [{allow: {method: GET, path: '%s'}}]}]}}\n"


# Each is repeated until it is as long as a policy may be, or an eighth of that.
SLOW = {
    "sequences in one line": b"[",
    "mappings in one line": b"{",
    "sequences in sequences": b"- ",
    "complex keys": b"? ",
    "keys of keys": b"a: ",
    "lines of one text": b"a\n",
    "one key again and again": b"a: b\n",
    "comment": b"#",
    "empty lines": b"\n",
    "blanks": b" ",
    "a word": b"a",
    "words": b"a ",
    "quotes": b"'",
    "documents": b"--- a\n",
}
SLOW_INSIDE = {
    "a list": (b"x: [", b"1,", b"]"),
    "doubled quotes": (b"x: '", b"''", b"'"),
    "escapes": (b'x: "', b"\\x41", b'"'),
    "escaped line ends": (b'x: "', b"\\\n", b'"'),
    "a literal text": (b"x: |\n", b" a\n", b""),
    "a folded text": (b"x: >\n", b" a\n\n", b""),
    "a directive": (b"%", b"A", b""),
    "a tag": (b"!", b"a", b" b"),
    "an anchor": (b"&", b"a", b" b"),
    "an alias": (b"*", b"a", b""),
}
NUMBERED = {"keys": b"k%d: v\n", "anchors": b"- &a%d x\n"}


def filled(name, size):
    """The pattern of that name, at most ``size`` bytes."""
    if name in NUMBERED:
        return b"".join(NUMBERED[name] % number for number in range(size // 16))
    start, again, end = SLOW_INSIDE.get(name, (b"", SLOW.get(name), b""))
    return start + again * ((size - len(start) - len(end)) // len(again)) + end


EVERY = [*SLOW, *SLOW_INSIDE, *NUMBERED]


@pytest.mark.parametrize("name", EVERY)
def test_a_long_text_made_to_be_slow_is_refused_in_bounded_time(name):
    assert not isinstance(outcome(filled(name, 1 << 17)), Policy)


@pytest.mark.nightly
@pytest.mark.parametrize("name", EVERY)
def test_a_megabyte_made_to_be_slow_is_refused_in_bounded_time(name):
    assert not isinstance(outcome(filled(name, 1 << 20)), Policy)


def test_a_megabyte_of_wildcards_in_one_pattern_is_refused():
    assert "policy.too-large" in codes_of(NESTED % ("/" + "a*" * 500_000))


@pytest.mark.parametrize(
    "path", ["/" + "a*" * 2000, "/" + "*a" * 2000 + "b", "/**/a" * 500, "/*" * 2000]
)
def test_a_pattern_made_to_backtrack_is_matched_in_bounded_time(path):
    policy = loaded(NESTED % path)
    pattern = policy.network_policies[0].endpoints[0].rules[0].path
    started = time.process_time()

    for subject in ("/" + "a" * 4000, "/a" * 2000, "/" + "a" * 3999 + "c"):
        pattern.matches(subject)

    assert time.process_time() - started < SECONDS


def test_a_large_sound_policy_is_read():
    endpoints = "".join(
        f"      - {{host: h{number}.example.com, port: 443}}\n" for number in range(3000)
    )
    text = f"version: 1\nnetwork_policies:\n  a:\n    binaries: [{{path: /x}}]\n    endpoints:\n{endpoints}"

    assert len(loaded(text).network_policies[0].endpoints) == 3000
