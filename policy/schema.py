"""The JSON Schema of the policy document, for editors and other programs.

Made from the shapes that the loader reads with (policy.grammar). It says what stands where; what
keys mean together, and what patterns may hold, only the loader knows: ``policy check``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.grammar import DOCUMENT

if TYPE_CHECKING:
    from policy.shape import JsonSchema


def json_schema() -> JsonSchema:
    """A JSON Schema (draft 2020-12) of the whole document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sandbox-supervisor policy, version 1",
        **DOCUMENT.schema(),
    }
