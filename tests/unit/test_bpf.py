"""The assembler against the meaning of the trees it is given."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bpf_machine import ONES, run

from supervisor.kernel.bpf import (
    JUMP_ANY_BIT,
    JUMP_EQUAL,
    JUMP_GREATER_EQUAL,
    Branch,
    Word,
    argument_offset,
    assemble,
)

MASKS = (0xFFFFFFFF, 0xF, 0x80000001)
WORDS = st.builds(
    Word, st.sampled_from([0, 4, *map(argument_offset, range(6))]), st.sampled_from(MASKS)
)
SMALL = st.integers(0, 20) | st.sampled_from([0x80000000, 0xFFFFFFFF])
LEAVES = st.integers(0, 0xFFFFFFFF)


def branches(children):
    test = st.sampled_from([JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_ANY_BIT])
    values = st.lists(SMALL, min_size=1, max_size=5).map(tuple)
    return st.builds(Branch, WORDS, test, values, children, children)


TREES = st.recursive(LEAVES, branches, max_leaves=60)


HOLDS = {
    JUMP_EQUAL: lambda found, value: found == value,
    JUMP_GREATER_EQUAL: lambda found, value: found >= value,
    JUMP_ANY_BIT: lambda found, value: found & value != 0,
}


def meaning(tree, words):
    """What a tree means, without any program."""
    if not isinstance(tree, Branch):
        return tree
    found = words[tree.word.offset] & tree.word.mask
    holds = any(HOLDS[tree.test](found, value) for value in tree.values)
    return meaning(tree.then if holds else tree.otherwise, words)


@given(TREES, st.lists(SMALL, min_size=8, max_size=8))
def test_a_program_decides_as_its_tree_means(tree, values):
    offsets = [0, 4, *map(argument_offset, range(6))]
    words = dict(zip(offsets, values, strict=True))
    number = values[0] - (1 << 32) if values[0] >> 31 else values[0]
    assert run(assemble(tree), values[1], number, *values[2:]) == meaning(tree, words)


def chain(length, leaf):
    """A tree of 2 × length + 1 instructions that looks at one argument."""
    tree = leaf
    for value in range(length):
        tree = Branch(Word(argument_offset(1)), JUMP_EQUAL, (1000 + value,), 7, tree)
    return tree


@pytest.mark.parametrize("length", [126, 127, 128, 129, 130, 600])
@pytest.mark.parametrize("values", [(5,), (5, 6), tuple(range(5, 205))])
def test_jumps_over_more_than_255_instructions_arrive(length, values):
    tree = Branch(Word(argument_offset(0)), JUMP_EQUAL, values, chain(length, 1), chain(length, 2))
    program = assemble(tree)
    for value in values:
        assert run(program, 0, 0, value, 0) == 1
    assert run(program, 0, 0, 4, 0) == 2
    assert run(program, 0, 0, 4, 1000) == 7
    assert run(program, 0, 0, values[0], 1000 + length - 1) == 7


@pytest.mark.parametrize("turns", list(itertools.product(["then", "otherwise"], repeat=2)))
def test_a_word_is_loaded_again_after_another_one(turns):
    """Argument 0, then 1, then 0 again, on each of the four ways down."""
    first, second = Word(argument_offset(0)), Word(argument_offset(1))
    tree = Branch(first, JUMP_EQUAL, (5,), 1, 2)
    for word, turn in zip((second, first), turns, strict=True):
        ways = {"then": 3, "otherwise": 4} | {turn: tree}
        tree = Branch(word, JUMP_EQUAL, (6,), **ways)
    program = assemble(tree)
    for zeroth, other in itertools.product((5, 6, 7), repeat=2):
        expected = meaning(tree, {16: zeroth, 24: other})
        assert run(program, 0, 0, zeroth, other) == expected


def test_a_comparison_sees_the_low_word_only():
    program = assemble(Branch(Word(argument_offset(2)), JUMP_EQUAL, (16,), 1, 2))
    assert run(program, 0, 0, 0, 0, 16 | 1 << 32) == 1
    assert run(program, 0, 0, 0, 0, 16 | ONES & ~0xFFFFFFFF) == 1
    assert run(program, 0, 0, 0, 0, 17) == 2


def bushy(depth):
    """A tree of 2 ** depth returns."""
    if depth == 0:
        return 1
    half = bushy(depth - 1)
    return Branch(Word(argument_offset(0)), JUMP_EQUAL, (depth,), half, half)


def test_a_program_longer_than_the_kernel_takes_is_refused():
    assert 8 * 2048 < len(assemble(bushy(10))) < 8 * 4096
    with pytest.raises(ValueError, match="instructions, at most 4096"):
        assemble(bushy(11))


def test_more_values_than_a_jump_reaches_over_are_refused():
    word = Word(argument_offset(0))
    assert run(assemble(Branch(word, JUMP_EQUAL, tuple(range(255)), 1, 2)), 0, 0, 0) == 1
    with pytest.raises(ValueError, match="256 values"):
        assemble(Branch(word, JUMP_EQUAL, tuple(range(256)), 1, 2))
