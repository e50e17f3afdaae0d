"""The shape of the whole document: every key, what may stand behind it, and what it means."""

from __future__ import annotations

from policy import presets, words
from policy.grammar_network import BINARY, NETWORK_MIDDLEWARES, NETWORK_POLICIES
from policy.shape import Boolean, Either, Integer, Key, ListOf, RecordOf, Text
from policy.static import MAX_PATHS
from policy.values import parse_directory, parse_identity

# The kernel caps RLIMIT_NOFILE at fs.nr_open, whose default this is.
MAX_NOFILE = 1 << 20
# The largest file size that off_t can say, less than infinity.
MAX_FSIZE = (1 << 63) - 1
# PID_MAX_LIMIT of 64-bit kernels.
MAX_NPROC = 4194304
# Higher than any Landlock ABI so far; a kernel below the stated one refuses the start anyway.
MAX_LANDLOCK_ABI = 99

_PATHS = ListOf(item=Text(parse=parse_directory), most=MAX_PATHS)
_CONTROLS = tuple(sorted(words.CONTROLS))
_ACCEPTED = tuple(sorted({**words.CONTROLS, **words.FEATURES}))

FILESYSTEM = RecordOf(
    keys={
        "include_workdir": Key(
            shape=Boolean(),
            about="Make the work directory readable and writable. Default: false.",
        ),
        "read_only": Key(
            shape=_PATHS,
            about="Absolute paths that may be read and executed, with everything below.",
        ),
        "read_write": Key(
            shape=_PATHS,
            about="Absolute paths that may also be changed. Never '/' and nothing below /proc.",
        ),
    }
)

LANDLOCK = RecordOf(
    keys={
        "compatibility": Key(
            shape=Text(words=("hard_requirement", "best_effort")),
            about="What happens where the kernel cannot enforce a path rule: refuse the start "
            "(hard_requirement, the default) or go on and report what was lost (best_effort).",
        )
    }
)

PROCESS = RecordOf(
    keys={
        "run_as_user": Key(
            shape=Text(parse=parse_identity, number=True),
            about="'sandbox' or a user id from 1 to 4294967294.",
        ),
        "run_as_group": Key(
            shape=Text(parse=parse_identity, number=True),
            about="'sandbox' or a group id from 1 to 4294967294.",
        ),
    }
)

REQUIRE = RecordOf(
    keys={
        "fence": Key(
            shape=Text(words=("namespace", "pod")),
            about="The weakest form of the network fence that will do: 'namespace' (no interface "
            "but lo) or 'pod' (default drop in a shared namespace, or better).",
        ),
        "landlock_abi": Key(
            shape=Integer(least=1, most=MAX_LANDLOCK_ABI),
            about="The lowest Landlock ABI that will do.",
        ),
        "controls": Key(
            shape=ListOf(item=Text(words=_CONTROLS)),
            about="Controls without which the start refuses.",
        ),
    }
)

LIMITS = RecordOf(
    keys={
        "nofile": Key(
            shape=Integer(least=16, most=MAX_NOFILE),
            about="Open descriptors of one process (RLIMIT_NOFILE).",
        ),
        "fsize": Key(
            shape=Integer(least=1, most=MAX_FSIZE),
            about="Bytes in one file (RLIMIT_FSIZE).",
        ),
        "nproc": Key(
            shape=Integer(least=1, most=MAX_NPROC),
            about="Processes and threads of the user id (RLIMIT_NPROC). It counts the whole user "
            "id, across containers that share it.",
        ),
    }
)

SYSCALLS = RecordOf(
    keys={
        "nested_sandbox": Key(
            shape=Boolean(),
            about="Let programs make namespaces of their own, as browsers do. Default: false.",
        ),
        "debugger": Key(
            shape=Boolean(),
            about="Let programs trace their own children (ptrace). Default: false.",
        ),
    }
)

_PRESET_NAME = Text(words=presets.NAMES)

PRESET = RecordOf(
    keys={
        "name": Key(shape=_PRESET_NAME, about="Name of the preset.", required=True),
        "binaries": Key(
            shape=ListOf(item=BINARY, least=1),
            about="The programs that may use it. Default: those of the preset.",
        ),
    }
)

SUPERVISOR = RecordOf(
    keys={
        "require": Key(shape=REQUIRE, about="The minimum below which the start refuses."),
        "accept": Key(
            shape=ListOf(item=Text(words=_ACCEPTED)),
            about="Controls and features whose absence is accepted, and reported.",
        ),
        "limits": Key(shape=LIMITS, about="Resource limits. Core dumps are always off."),
        "loopback": Key(
            shape=ListOf(item=Integer(least=1, most=65535), most=1024),
            about="The only loopback ports that the workload may reach. Default: all of its own.",
        ),
        "syscalls": Key(shape=SYSCALLS, about="Doors of the system call filter to open."),
        "presets": Key(
            shape=ListOf(item=Either(word=_PRESET_NAME, record=PRESET), most=64),
            about="Entries that are shipped with the supervisor, by name.",
        ),
    }
)

DOCUMENT = RecordOf(
    keys={
        "version": Key(
            shape=Integer(least=1, most=1),
            about="The version of the policy language: 1.",
            required=True,
        ),
        "filesystem_policy": Key(
            shape=FILESYSTEM,
            about="Which files the workload may touch, beside a documented baseline. Default: the "
            "work directory.",
        ),
        "landlock": Key(shape=LANDLOCK, about="How strictly file rules are enforced."),
        "process": Key(shape=PROCESS, about="Who the workload runs as."),
        "network_policies": Key(
            shape=NETWORK_POLICIES,
            about="Which programs may reach which destinations. Empty or absent: no network.",
        ),
        "network_middlewares": Key(
            shape=NETWORK_MIDDLEWARES,
            about="External programs that see and change requests.",
        ),
        "supervisor": Key(
            shape=SUPERVISOR,
            about="What the supervisor adds to the reference's policy language.",
        ),
    }
)
