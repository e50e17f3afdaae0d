"""A number has one spelling; a name never looks like a number (attacks.md A1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Refusal
from supervisor.identity.ids import (
    MAX_ID,
    MAX_QUOTED,
    canonical_number,
    id_warning,
    is_name,
    parse_id,
    parse_reference,
    quote,
)

NOT_CANONICAL = [
    "", "00", "01000", "+0", "+1000", "-0", "-1", " 0", " 1000", "1000 ", "1000\n", "\t1000", "1e3",
    "1_000", "1,000", "1000.0", "0x3e8", "0o17", "1000:0", "1000:1000", "٣", "１０００", "²", "1000\0",
    "1000\r", "\udcff1000",
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_CANONICAL)
def test_every_other_spelling_is_refused(text: str) -> None:
    for parse in (parse_id, parse_reference):
        with pytest.raises(Refusal) as caught:
            parse(text, "SANDBOX_UID")
        assert caught.value.code.name == "identity.bad-id"
        assert caught.value.cause.startswith("SANDBOX_UID is ")
        assert caught.value.cause.isascii()


@pytest.mark.parametrize("text", ["4294967295", "4294967296", "9" * 40, "9" * 100_000])
def test_a_number_beyond_the_kernels_ids_is_refused(text: str) -> None:
    for parse in (parse_id, parse_reference):
        with pytest.raises(Refusal) as caught:
            parse(text, "--uid")
        assert caught.value.code.name == "identity.out-of-range"
        assert len(caught.value.cause) < 3 * MAX_QUOTED


@pytest.mark.parametrize("text", ["0", "root"])
def test_root_is_refused_before_any_file_is_asked(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_reference(text, "--gid")
    assert caught.value.code.name == "identity.root"


@pytest.mark.parametrize("number", [1, 30, 500, 999, 1000, 10001, 1_000_660_000, MAX_ID])
def test_every_id_has_exactly_its_decimal_spelling(number: int) -> None:
    assert parse_reference(str(number), "--uid") == number


@pytest.mark.parametrize(
    "name", ["app", "_apt", "www-data", "systemd-network", "A.b_c-9", "n" * 32]
)
def test_a_name_stays_a_name(name: str) -> None:
    assert parse_reference(name, "--uid") == name


@pytest.mark.parametrize(
    "text", ["n" * 33, "-app", ".app", "9app", "a b", "a:b", "a/b", "a$", "ünï"]
)
def test_what_is_neither_number_nor_name_is_refused(text: str) -> None:
    assert not is_name(text)
    with pytest.raises(Refusal) as caught:
        parse_reference(text, "--uid")
    assert caught.value.code.name == "identity.bad-id"


@given(st.text() | st.text(alphabet="0123456789+- eE_٣", max_size=12))
def test_what_is_accepted_is_what_python_prints_for_it(text: str) -> None:
    number = canonical_number(text)
    assert number is None or (str(number) == text and 0 <= number <= MAX_ID)


@given(st.text())
def test_a_reference_is_a_number_a_name_or_a_refusal(text: str) -> None:
    outcome = _outcome(text)
    if isinstance(outcome, Refusal):
        assert outcome.code.name.startswith("identity.")
    else:
        assert str(outcome) == text
        assert isinstance(outcome, str) == is_name(text)


def _outcome(text: str) -> int | str | Refusal:
    try:
        return parse_reference(text, "--uid")
    except Refusal as refusal:
        return refusal


def test_a_quoted_text_cannot_write_to_the_terminal() -> None:
    assert quote("\x1b[2J\udcff") == r"'\x1b[2J\udcff'"
    assert quote("x" * 100_000).endswith("' (cut)")


@pytest.mark.parametrize(
    ("number", "warned"), [(1, True), (999, True), (1000, False), (65534, True)]
)
def test_ids_of_services_and_the_overflow_id_are_warned_about(number: int, warned: bool) -> None:
    assert (id_warning("uid", number) is not None) is warned
