"""What is wrong with a policy, or weaker than it reads: always with place, code, message, remedy.

Two exceptions carry findings: a leaf parser that sees one word raises PatternError, which has no
place; the loader knows the place and collects everything into one PolicyError.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from policy.codes import Code

# error         the document is refused
# not-enforced  loads, but nothing enforces it: ``run`` refuses unless the policy accepts it
# warning       loads and is enforced, and is probably not what the author meant
Severity = Literal["error", "not-enforced", "warning"]


class Place(Protocol):
    """Anything that knows where it stands in its file: a node of the document, an Origin."""

    @property
    def line(self) -> int:
        """Counted from 1; 0 is the file as a whole."""

    @property
    def column(self) -> int:
        """Counted from 1; 0 is the file as a whole."""


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


class Report:
    """Collects findings while a document is read. Bounded: a hostile file cannot fill memory."""

    # Nobody reads more; each finding may quote the document.
    MOST = 500

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Finding] = []

    @property
    def full(self) -> bool:
        """No further finding will be kept."""
        return len(self.found) > self.MOST

    def add(
        self,
        code: "Code",
        place: Place,
        path: str,
        message: str,
        *,
        remedy: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Keep one finding; ``remedy`` overrides the code's general one."""
        if self.full:
            return
        if len(self.found) == self.MOST:
            from policy.document_codes import TOO_MANY_FINDINGS

            code, severity = TOO_MANY_FINDINGS, "error"
            message, remedy = f"more than {self.MOST} findings", None
        finding = Finding(
            file=place.file if isinstance(place, Origin) else self.file,
            line=place.line,
            column=place.column,
            path=path,
            code=code.name,
            message=message,
            remedy=code.remedy if remedy is None else remedy,
            severity=severity,
        )
        if finding not in self.found[-2:]:  # an alias makes one place be read twice
            self.found.append(finding)

    def add_pattern_error(self, error: PatternError, place: Place, path: str) -> None:
        """Keep what a leaf parser said about the word at ``place``."""
        from policy.codes import Code

        code = Code(error.code, "", error.remedy)
        self.add(code, place, path, error.message, remedy=error.remedy)

    def in_order(self) -> tuple[Finding, ...]:
        """All findings in the order of the file."""
        return tuple(sorted(self.found, key=lambda finding: (finding.line, finding.column)))

    def refused(self) -> bool:
        """At least one finding is an error."""
        return any(finding.severity == "error" for finding in self.found)
