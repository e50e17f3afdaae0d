"""The table of numbers against two independent sources: the kernel's headers and libseccomp."""

import ctypes
import re
import subprocess

import pytest

from supervisor.kernel.seccomp_table.machines import AARCH64, X86_64
from supervisor.kernel.seccomp_table.numbers import NUMBERS

# What arch/arm64/include/asm/unistd.h defines before it includes the generic table.
AARCH64_HEADER = """
#define __BITS_PER_LONG 64
#define __ARCH_WANT_RENAMEAT
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SET_GET_RLIMIT
#define __ARCH_WANT_SYS_CLONE3
#define __ARCH_WANT_MEMFD_SECRET
#include <asm-generic/unistd.h>
"""
NOT_CALLS = {"syscalls", "arch_specific_syscall"}


def numbers_of_headers(source):
    """The ``__NR_`` macros of linux-libc-dev that come out as a number."""
    command = ["gcc", "-E", "-dM", "-"]
    answer = subprocess.run(command, input=source, text=True, capture_output=True, check=True)
    macros = dict(re.findall(r"#define (__NR\w*) (\S+)", answer.stdout))
    found = {}
    for name in macros:
        value = name
        while value in macros:
            value = macros[value]
        if name.startswith("__NR_") and value.isdigit() and name[5:] not in NOT_CALLS:
            found[name[5:]] = int(value)
    return found


@pytest.mark.parametrize(
    ("machine", "source"),
    [(X86_64, "#include <asm/unistd_64.h>\n"), (AARCH64, AARCH64_HEADER)],
    ids=["x86_64", "aarch64"],
)
def test_every_call_of_the_kernel_headers_has_its_number_here(machine, source):
    expected = numbers_of_headers(source)
    assert len(expected) > 290
    assert {name: NUMBERS[name][machine.column] for name in expected} == expected


@pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=lambda machine: machine.name)
def test_libseccomp_knows_the_same_numbers(machine):
    library = ctypes.CDLL("libseccomp.so.2")
    resolve = library.seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    unknown = -1
    different = {}
    for name, columns in NUMBERS.items():
        answer = resolve(machine.audit_value, name.encode())
        mine = columns[machine.column]
        # It gives calls that the architecture lacks pseudo-numbers below zero.
        if answer != unknown and (None if answer < 0 else answer) != mine:
            different[name] = (mine, answer)
    assert different == {}


@pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=lambda machine: machine.name)
def test_no_number_is_given_twice(machine):
    numbers = [row[machine.column] for row in NUMBERS.values() if row[machine.column] is not None]
    assert len(numbers) == len(set(numbers))


def test_the_youngest_calls_have_one_number_on_both_architectures():
    """Beyond what headers and library know; tests/privileged makes the calls by these numbers."""
    youngest = sorted(NUMBERS.items(), key=lambda row: row[1][1] or 0)[-13:]
    assert [row[1] for row in youngest] == [(number, number) for number in range(457, 470)]
    assert " ".join(row[0] for row in youngest) == (
        "statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat"
        " getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr"
    )
