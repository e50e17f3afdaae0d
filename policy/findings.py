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


def shown(text: str) -> str:
    """The beginning of hostile text in one printable line; quoted where it would not be one."""
    return text[:80] if text[:80].isprintable() else repr(text[:80])


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
        errors = [finding for finding in findings if finding.severity == "error"]
        super().__init__(f"{errors[0]} (one of {len(errors)})" if errors else "no policy")
        self.findings = findings


class Report:
    """Collects findings while a document is read. Bounded: a hostile file cannot fill memory."""

    # Errors and warnings that are kept; nobody reads more, and each may quote the document.
    MOST = 500

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Finding] = []
        self.counted = 0

    @property
    def full(self) -> bool:
        """No further error or warning will be kept."""
        return self.counted > self.MOST

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
        """Keep one finding; ``remedy`` overrides the code's general one.

        What is not enforced is always kept (``run`` decides by it): the loader adds one of them
        for each entry and feature, so the document's size is their bound.
        """
        if severity != "not-enforced":
            self.counted += 1
            if self.counted > self.MOST + 1:
                return
            if self.full:  # one error in place of all that follow, so that none of them is lost
                from policy.document_codes import TOO_MANY_FINDINGS

                code, severity = TOO_MANY_FINDINGS, "error"
                message, remedy = f"more than {self.MOST} findings", None
        self.found.append(
            Finding(
                file=place.file if isinstance(place, Origin) else self.file,
                line=place.line,
                column=place.column,
                path=path,
                code=code.name,
                message=message,
                remedy=code.remedy if remedy is None else remedy,
                severity=severity,
            )
        )

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
