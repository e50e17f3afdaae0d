"""Run a seccomp program as the kernel would: pure, so that tables can be tested row by row.

The instructions and their meaning are linux/bpf_common.h's; anything else is an error here, as it
is in the kernel's checker.
"""

import struct

LOAD, AND, JA, JEQ, JGE, JSET, RET = 0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06
SECCOMP_DATA = struct.Struct("<iIQ6Q")
ONES = (1 << 64) - 1


def run(program: bytes, audit_arch: int, number: int, *arguments: int) -> int:
    """Return the action for one call; ``arguments`` are taken as the 64-bit registers hold them."""
    registers = [value & ONES for value in (*arguments, *(0,) * (6 - len(arguments)))]
    data = SECCOMP_DATA.pack(number, audit_arch, 0, *registers)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = 0
    position = 0
    while True:
        operation, true, false, constant = code[position]
        position += 1
        if operation == LOAD:
            assert constant % 4 == 0
            accumulator = struct.unpack_from("<I", data, constant)[0]
        elif operation == AND:
            accumulator &= constant
        elif operation == JA:
            position += constant
        elif operation in (JEQ, JGE, JSET):
            holds = {
                JEQ: accumulator == constant,
                JGE: accumulator >= constant,
                JSET: bool(accumulator & constant),
            }[operation]
            position += true if holds else false
        elif operation == RET:
            return constant
        else:
            raise AssertionError(f"instruction {operation:#x} at {position - 1}")
