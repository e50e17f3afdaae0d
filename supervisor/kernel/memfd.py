"""memfd_create(2): memory with a descriptor, and seals that make it read-only for good."""

import fcntl
import os

MFD_FLAGS = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
READ_ONLY = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def sealed(name: str, content: bytes) -> int:
    """A descriptor of ``content`` that nobody can change any more, at offset 0."""
    descriptor = os.memfd_create(name, MFD_FLAGS)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, READ_ONLY)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def memory(name: str) -> int:
    """A descriptor of empty memory; whoever writes it first gives it its size."""
    return os.memfd_create(name, os.MFD_CLOEXEC)
