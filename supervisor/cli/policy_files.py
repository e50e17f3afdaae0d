"""What the policy commands share: reading files, printing findings."""

import os
import stat
import sys
from typing import TYPE_CHECKING, Any

from supervisor.cli import codes
from supervisor.errors import Refusal

if TYPE_CHECKING:
    from policy.findings import Finding
    from policy.model import Policy


def read_file(path: str) -> bytes:
    """The bytes of a regular file, or of standard input for ``-``; one byte more than is allowed.

    Raises Refusal ``cli.file-unreadable``.
    """
    from policy.document import MAX_BYTES

    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        # Non-blocking, because opening a FIFO would otherwise wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refusal(codes.FILE_UNREADABLE, f"{path} is not a regular file")
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Refusal(codes.FILE_UNREADABLE, f"{path}: {error}") from error


def load_policy(path: str) -> "Policy":
    """The policy of a file.

    Raises Refusal ``cli.file-unreadable``, and ``cli.policy-refused`` after its errors were printed.
    """
    return loaded(read_file(path), path)


def loaded(text: bytes, name: str) -> "Policy":
    """The policy of ``text``; raises Refusal ``cli.policy-refused`` with the errors."""
    from policy.findings import PolicyError
    from policy.load import load

    try:
        return load(text, file=name)
    except PolicyError as error:
        raise refused(error.findings, name) from error


def refused(findings: "tuple[Finding, ...]", name: str) -> Refusal:
    """The refusal of a file for its findings: the first in full, the number of the others."""
    errors = [finding for finding in findings if finding.severity == "error"]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Refusal(codes.POLICY_REFUSED, f"{name}: {errors[0]}{more}")


def finding_as_dict(finding: "Finding") -> dict[str, Any]:
    """A finding for --json."""
    return {
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "path": finding.path,
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "remedy": finding.remedy,
    }
