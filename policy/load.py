"""``load``: the bytes of a policy file to a Policy, or every finding at once.

Runs in an unprivileged, short-lived process: it imports the YAML parser.
"""

from __future__ import annotations

from policy import document_codes as codes
from policy import static
from policy.ambiguity import check_ambiguity
from policy.broader import report_broader
from policy.document import Start, Word, parse
from policy.enforced import report_unenforced
from policy.entries import read_entries
from policy.findings import PolicyError, Report
from policy.grammar import DOCUMENT
from policy.included import included_entries
from policy.middlewares import read_middlewares
from policy.model import Policy
from policy.shape import Record

_NOTHING = ("", "~", "null", "Null", "NULL")


def load(text: bytes, *, file: str) -> Policy:
    """Read one policy document.

    ``file`` is the name that findings and origins carry. Raises PolicyError with all findings
    when one of them is an error; the others are in the policy's ``findings``. No other exception,
    whatever the bytes.
    """
    report = Report(file)
    policy = _read(text, report)
    if policy is None or report.refused():
        raise PolicyError(report.in_order())
    return policy


def read_document(text: bytes, report: Report) -> Record | None:
    """The document's record; None once the report says why there is none."""
    tree = parse(text, report)
    if tree is None or (isinstance(tree, Word) and tree.plain and tree.text in _NOTHING):
        if not report.refused():
            report.add(codes.EMPTY, Start(), "", "the policy holds nothing")
        return None
    root = DOCUMENT.read(tree, "", report)
    return root if isinstance(root, Record) else None


def _read(text: bytes, report: Report) -> Policy | None:
    root = read_document(text, report)
    if root is None:
        return None
    own = read_entries(root.records("network_policies"))
    entries = (*own, *included_entries(root, own, DOCUMENT))
    middlewares = read_middlewares(root.records("network_middlewares"), entries)
    check_ambiguity(entries, report)
    report_unenforced(entries, middlewares, report)
    report_broader(entries, report)
    return Policy(
        file=report.file,
        version=1,
        filesystem=static.filesystem(root),
        landlock=static.landlock(root),
        process=static.process(root),
        network_policies=entries,
        middlewares=middlewares,
        supervisor=static.extensions(root),
        findings=report.in_order(),
    )
