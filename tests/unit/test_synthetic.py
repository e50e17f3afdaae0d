import mmap
import os
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from policy.address import SYNTHETIC_V4, SYNTHETIC_V6
from supervisor.egress import synthetic
from supervisor.egress.synthetic import (
    REUSE_AFTER_S,
    TABLE_SIZE,
    Kind,
    SyntheticTable,
    TableError,
)

NAMES = st.from_regex(r"[a-z]{1,8}\.example\.(com|org)", fullmatch=True)


HEAD = synthetic._HEADER.size


def table():
    return SyntheticTable(bytearray(TABLE_SIZE))


def test_an_exact_name_has_the_same_address_in_every_sandbox():
    first = table().assign("api.example.com", Kind.EXACT, 1.0)
    other = table()
    other.assign("other.example.com", Kind.EXACT, 5.0)
    assert other.assign("api.example.com", Kind.EXACT, 9.0) == first
    assert first.v4 in SYNTHETIC_V4
    assert first.v6 in SYNTHETIC_V6


def test_both_addresses_lead_back_to_the_name():
    names = table()
    pair = names.assign("api.example.com", Kind.EXACT, 1.0)
    assert names.name_of(pair.v4) == names.name_of(pair.v6) == "api.example.com"


def test_an_address_that_was_never_handed_out_means_nothing():
    names = table()
    names.assign("api.example.com", Kind.EXACT, 1.0)
    for text in ("198.18.0.0", "198.19.255.255", "10.0.0.1", "::1", "fdc6:5e1f:9d08::1"):
        assert names.name_of(ip_address(text)) is None


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(synthetic, "MAX_POOLED", 3)
    return table()


def fill(names, now):
    for number in range(3):
        assert names.assign(f"n{number}.example.com", Kind.POOLED, now) is not None


def test_a_full_pool_refuses_but_knows_its_names(small):
    fill(small, 0.0)
    assert small.assign("late.example.com", Kind.POOLED, 1.0) is None
    assert small.assign("n1.example.com", Kind.POOLED, 1.0) is not None
    assert small.assign("exact.example.com", Kind.EXACT, 1.0) is not None


def test_an_address_is_reused_one_hour_after_the_last_answer(small):
    fill(small, 0.0)
    small.assign("n2.example.com", Kind.POOLED, 10.0)
    assert small.assign("late.example.com", Kind.POOLED, REUSE_AFTER_S - 1) is None
    assert small.assign("late.example.com", Kind.POOLED, REUSE_AFTER_S) is not None
    assert small.count(Kind.POOLED) == 2
    assert small.assign("n2.example.com", Kind.POOLED, REUSE_AFTER_S) is not None


def test_an_address_is_not_reused_while_a_tunnel_lives_nor_for_an_hour_after(small):
    fill(small, 0.0)
    pair = small.assign("n0.example.com", Kind.POOLED, 0.0)
    small.hold("n0.example.com")
    small.hold("n0.example.com")
    small.release("n0.example.com", 5.0)
    assert small.assign("late.example.com", Kind.POOLED, 2 * REUSE_AFTER_S) is not None
    assert small.name_of(pair.v4) == "n0.example.com"
    small.release("n0.example.com", 2 * REUSE_AFTER_S)
    fill_up = [small.assign(f"x{n}.example.com", Kind.POOLED, 2 * REUSE_AFTER_S) for n in range(2)]
    assert fill_up[-1] is None
    assert small.name_of(pair.v4) == "n0.example.com"


def test_a_freed_address_rests_before_it_means_another_name(small):
    fill(small, 0.0)
    old = small.assign("n0.example.com", Kind.POOLED, 0.0)
    fresh = small.assign("late.example.com", Kind.POOLED, REUSE_AFTER_S)
    assert fresh.v4 != old.v4
    assert small.name_of(old.v4) is None


def test_exact_names_have_a_limit_too(monkeypatch):
    monkeypatch.setattr(synthetic, "MAX_EXACT", 1)
    names = table()
    assert names.assign("a.example.com", Kind.EXACT, 0.0) is not None
    assert names.assign("b.example.com", Kind.EXACT, 1e9) is None


def test_two_names_that_meet_get_different_addresses(monkeypatch):
    monkeypatch.setattr(synthetic, "EXACT_SLOTS", range(1, 4))
    names = table()
    pairs = {names.assign(f"{n}.example.com", Kind.EXACT, 0.0).v4 for n in "abc"}
    assert len(pairs) == 3


def test_the_next_egress_reads_the_table_from_the_memfd():
    descriptor = os.memfd_create("synthetic")
    os.ftruncate(descriptor, TABLE_SIZE)
    with mmap.mmap(descriptor, TABLE_SIZE) as memory:
        first = SyntheticTable(memory)
        exact = first.assign("api.example.com", Kind.EXACT, 3.0)
        pooled = first.assign("x.example.org", Kind.POOLED, 4.0)
        del first
        with mmap.mmap(descriptor, TABLE_SIZE) as again:
            second = SyntheticTable(again)
            assert second.name_of(exact.v4) == "api.example.com"
            assert second.name_of(pooled.v6) == "x.example.org"
            assert second.assign("x.example.org", Kind.POOLED, 5.0) == pooled
            assert second.assign("y.example.org", Kind.POOLED, 5.0) != pooled
            del second
    os.close(descriptor)


def test_an_empty_table_takes_a_page_and_not_its_whole_size():
    descriptor = os.memfd_create("synthetic")
    os.ftruncate(descriptor, TABLE_SIZE)
    with mmap.mmap(descriptor, TABLE_SIZE) as memory:
        for name in ("a.example.com", "b.example.com"):  # read and written, then read again
            names = SyntheticTable(memory)
            names.assign(name, Kind.EXACT, 3.0)
            del names
        assert os.fstat(descriptor).st_blocks * 512 <= mmap.PAGESIZE
    os.close(descriptor)


def test_a_record_that_was_never_finished_is_empty():
    memory = bytearray(TABLE_SIZE)
    pair = SyntheticTable(memory).assign("api.example.com", Kind.EXACT, 3.0)
    memory[HEAD] = 0  # the state byte of the first record
    assert SyntheticTable(memory).name_of(pair.v4) is None


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *((0, 1), (8, 1), (18, 1)),
        *((HEAD, 3), (HEAD, 2), (HEAD + 1, 0), (HEAD + 1, 200), (HEAD + 2, 1), (HEAD + 6, 200)),
        (HEAD + 16, 0x41),
    ],
)
def test_a_damaged_table_is_refused(at, value):
    memory = bytearray(TABLE_SIZE)
    SyntheticTable(memory).assign("api.example.com", Kind.EXACT, 3.0)
    assert memory[at] != value
    memory[at] = value
    with pytest.raises(TableError):
        SyntheticTable(memory)


def test_the_same_name_twice_is_damage():
    memory = bytearray(TABLE_SIZE)
    SyntheticTable(memory).assign("api.example.com", Kind.EXACT, 3.0)
    size = synthetic._RECORD.size
    memory[HEAD + size : HEAD + 2 * size] = memory[HEAD : HEAD + size]
    memory[synthetic._USED_OFFSET] = 2
    with pytest.raises(TableError, match="damaged"):
        SyntheticTable(memory)


def test_memory_of_another_size_is_refused():
    with pytest.raises(TableError):
        SyntheticTable(bytearray(TABLE_SIZE - 1))
    with pytest.raises(TableError):
        SyntheticTable(bytes(TABLE_SIZE))


class TableMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: an address means one name, and never silently another."""

    names = Bundle("names")

    def __init__(self):
        super().__init__()
        self.memory = bytearray(TABLE_SIZE)
        self.table = SyntheticTable(self.memory)
        self.now = 0.0
        self.answered = {}
        self.held = {}

    @rule(target=names, name=NAMES)
    def name(self, name):
        return name

    @rule(name=names, kind=st.sampled_from(Kind))
    def ask(self, name, kind):
        pair = self.table.assign(name, kind, self.now)
        if pair is not None:
            self.answered[pair.v4] = (name, self.now)

    @rule(seconds=st.floats(0.0, REUSE_AFTER_S))
    def wait(self, seconds):
        self.now += seconds

    @rule(name=names)
    def open_tunnel(self, name):
        if name in {known for known, _ in self.answered.values()}:
            self.table.hold(name)
            self.held[name] = self.held.get(name, 0) + 1

    @rule(name=names)
    def close_tunnel(self, name):
        if self.held.get(name):
            self.held[name] -= 1
            self.table.release(name, self.now)

    @rule()
    def restart(self):
        self.table = SyntheticTable(self.memory)
        self.held = {}

    @invariant()
    def a_recent_answer_still_means_its_name(self):
        for address, (name, when) in self.answered.items():
            if self.now - when < REUSE_AFTER_S:
                assert self.table.name_of(address) == name


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=15, stateful_step_count=25)


@given(NAMES)
def test_every_answer_is_in_the_pool_and_not_at_its_edge(name):
    pair = table().assign(name, Kind.EXACT, 0.0)
    assert pair.v4 not in (SYNTHETIC_V4.network_address, SYNTHETIC_V4.broadcast_address)
