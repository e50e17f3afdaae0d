"""The example pods of this directory, as the arguments of ``manifest`` that write them.

``python -m images.pods.examples`` from the project's root writes them anew; a test tells when one
is out of date.
"""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from supervisor.cli.main import main

HERE = Path(__file__).parent
IMAGES = (
    *("--image", "localhost/sandbox-agent", "--supervisor-image", "localhost/sandbox-supervisor"),
    # both are built here, by scripts/setup
    *("--pull-policy", "Never"),
)
WORKLOAD = ("--", "/bin/sh", "-c", "id && echo hello > /sandbox/hello && cat /sandbox/hello")
SIDECAR = ("--topology", "sidecar", "--name", "sandbox-sidecar")
EXAMPLES: dict[str, tuple[str, ...]] = {
    "combined.yaml": ("pod", "--name", "sandbox-combined", *IMAGES, *WORKLOAD),
    "sidecar.yaml": ("pod", *SIDECAR, *IMAGES, *WORKLOAD),
    "native-sidecar.yaml": ("pod", *SIDECAR, "--native-sidecar", *IMAGES, *WORKLOAD),
    "sandbox.yaml": ("sandbox", *SIDECAR, "--workspace-size", "2Gi", *IMAGES, *WORKLOAD),
}


def text(name: str) -> str:
    """One example: how it was made and what it needs, then the documents."""
    documents, notes = io.StringIO(), io.StringIO()
    with redirect_stdout(documents), redirect_stderr(notes):
        status = main(["manifest", *EXAMPLES[name]])
    if status != 0:
        raise ValueError(f"{name}: {notes.getvalue()}")
    return f"# Written by images/pods/examples.py\n{notes.getvalue()}{documents.getvalue()}"


if __name__ == "__main__":
    for example in EXAMPLES:
        (HERE / example).write_text(text(example))
    sys.exit(0)
