"""Reason codes of the kernel wrappers."""

from supervisor.errors import Code

UNSUPPORTED_ARCHITECTURE = Code(
    "kernel.unsupported-architecture",
    "There is no table of system calls for this machine, so nothing could be filtered.",
    "Run on x86_64 or aarch64, without a 32-bit personality.",
)
