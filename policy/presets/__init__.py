"""The shipped presets: each a policy document of entries, beside its expectations.

``NAME.yaml`` is the preset, ``NAME.test.yaml`` its allow and deny corpus for ``policy test``.
"""

import os
from typing import Final

NAMES: Final = (
    "anthropic-api",
    "debian",
    "git-read-only",
    "github-api-read-only",
    "npm",
    "pypi",
)


def text_of(name: str) -> bytes:
    """The document of one of NAMES."""
    with open(os.path.join(os.path.dirname(__file__), f"{name}.yaml"), "rb") as file:
        return file.read()
