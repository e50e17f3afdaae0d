"""Assemble classic BPF programs for seccomp from trees of branches.

Every path through a tree ends in a return, so a program is the concatenation of its subtrees, and
all jumps go forward. Conditional jumps reach 255 instructions; where a subtree is longer, an
unconditional one, which reaches any distance, stands in. No offset is ever truncated.

Source: kernel ``Documentation/networking/filter.rst`` and seccomp(2). Only the instructions that
the kernel's own check for "always allowed" understands are used (``seccomp_is_const_allow``), so
that calls allowed whatever their arguments skip the filter on kernels since 5.11.
"""

import struct
from typing import NamedTuple, TypeAlias

# linux/bpf_common.h: class | size | mode
LOAD_WORD = 0x20
AND = 0x54
JUMP = 0x05
RETURN = 0x06
JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_ANY_BIT = 0x15, 0x35, 0x45

MAX_CONDITIONAL_JUMP = 255  # jt and jf of struct sock_filter are bytes
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS: the kernel refuses longer programs

# Offsets in struct seccomp_data (linux/seccomp.h).
NUMBER_OFFSET = 0
ARCHITECTURE_OFFSET = 4


def argument_offset(index: int) -> int:
    """Return the offset of the low word of argument ``index`` (both architectures: little-endian)."""
    return 16 + 8 * index


class Word(NamedTuple):
    """The 32-bit word of seccomp_data at ``offset``, cut to ``mask``."""

    offset: int
    mask: int = 0xFFFFFFFF


class Branch(NamedTuple):
    """Go to ``then`` if ``word`` compares to any of ``values`` as ``test`` says."""

    word: Word
    test: int
    values: tuple[int, ...]
    then: "Node"
    otherwise: "Node"


Node: TypeAlias = int | Branch
Instruction: TypeAlias = tuple[int, int, int, int]


def assemble(tree: Node) -> bytes:
    """Return the program: an array of struct sock_filter (8 bytes each) in host byte order.

    Raises ValueError if it would be longer than the kernel takes.
    """
    instructions = _compile(tree, None)
    if len(instructions) > MAX_INSTRUCTIONS:
        raise ValueError(f"{len(instructions)} instructions, at most {MAX_INSTRUCTIONS}")
    pack = struct.Struct("=HBBI").pack
    return b"".join([pack(*instruction) for instruction in instructions])


def _compile(node: Node, loaded: Word | None) -> list[Instruction]:
    """Compile a subtree, given which word the accumulator holds when control comes here."""
    if isinstance(node, int):
        return [(RETURN, 0, 0, node)]
    then = _compile(node.then, node.word)
    code = [] if node.word == loaded else _load(node.word)
    last = len(node.values) - 1
    if last > MAX_CONDITIONAL_JUMP - 1:
        raise ValueError(f"{last + 1} values in one branch, at most {MAX_CONDITIONAL_JUMP}")
    near = len(then) <= MAX_CONDITIONAL_JUMP
    for position, value in enumerate(node.values):
        if position < last:
            code.append((node.test, last - position + (0 if near else 1), 0, value))
        elif near:
            code.append((node.test, 0, len(then), value))
        else:
            code += [(node.test, 1, 0, value), (JUMP, 0, 0, len(then))]
    return code + then + _compile(node.otherwise, node.word)


def _load(word: Word) -> list[Instruction]:
    load = (LOAD_WORD, 0, 0, word.offset)
    return [load] if word.mask == 0xFFFFFFFF else [load, (AND, 0, 0, word.mask)]
