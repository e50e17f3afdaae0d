"""Loads policy text in tests and reads what the loader says about it."""

import textwrap

from policy.findings import PolicyError
from policy.load import load


def loaded(text, *, file="policy.yaml"):
    """The policy of ``text``, which must load."""
    return load(textwrap.dedent(text).encode(), file=file)


def findings_of(text, *, file="policy.yaml"):
    """All findings about ``text``, refused or not."""
    data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    try:
        return load(data, file=file).findings
    except PolicyError as refused:
        return refused.findings


def errors_of(text):
    """Code and line of each error about ``text``, in order of the file."""
    return [(found.code, found.line) for found in findings_of(text) if found.severity == "error"]


def codes_of(text):
    """The codes of all errors about ``text``."""
    return {code for code, _ in errors_of(text)}
