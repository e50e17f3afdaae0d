"""What is wrong with a policy, or weaker than it reads: always with place, code, message, remedy.

Two exceptions carry findings: a leaf parser that sees one word raises PatternError, which has no
place; the loader knows the place and collects everything into one PolicyError.
"""

from dataclasses import dataclass
from typing import Literal

# error         the document is refused
# not-enforced  loads, but nothing enforces it: ``run`` refuses unless the policy accepts it
# warning       loads and is enforced, and is probably not what the author meant
Severity = Literal["error", "not-enforced", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A place in a file; lines and columns count from 1, and 0 means the file as a whole."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """``file:line:column``, as compilers write it."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One remark on a policy document.

    ``path`` is the place in the document's structure
    (``network_policies.forge.endpoints[0].port``, empty for the document itself), ``code`` is
    stable, ``message`` states the facts of this case, ``remedy`` what to write instead.
    """

    file: str
    line: int
    column: int
    path: str
    code: str
    message: str
    remedy: str
    severity: Severity = "error"

    def __str__(self) -> str:
        """One line for people."""
        place = f"{self.file}:{self.line}:{self.column}"
        where = f" ({self.path})" if self.path else ""
        return f"{place}: {self.severity}: {self.message} [{self.code}]{where}; {self.remedy}"


class PatternError(ValueError):
    """One word of the document cannot be what its place asks for."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy


class PolicyError(Exception):
    """The document is refused; ``findings`` holds everything found, errors among it."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        errors = sum(finding.severity == "error" for finding in findings)
        super().__init__(f"{errors} error(s) in the policy" if errors != 1 else str(findings[0]))
        self.findings = findings
