"""Python packages: exactly the locked ones, by digest.

Wheels are used as they are. Only python-prctl has none: it is compiled against the headers of the
locked Debian packages, by a virtual environment on Debian's own python3.11, whose compiler flags
and ABI are those of the bundled interpreter.
"""

import sys
from pathlib import Path

from images.runtime.commands import BuildFailed, run

DEBIAN_PREFIX = "/usr"
PYTHON = "python3.11"
TRIPLET = "x86_64-linux-gnu"


def install(lock: Path, headers: Path, target: Path) -> None:
    """Install everything that ``lock`` names into ``target``; ``headers`` is the unpacked root."""
    if sys.base_prefix != DEBIAN_PREFIX or sys.version_info[:2] != (3, 11):
        raise BuildFailed(
            f"the build runs on the Python of {sys.base_prefix}, not on Debian's python3.11",
            "Run it with the virtual environment that scripts/setup makes.",
        )
    include = headers / "usr/include"
    libraries = headers / f"usr/lib/{TRIPLET}"
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--no-compile", "--target", target),
        *("--only-binary", ":all:", "--no-binary", "python-prctl"),
        # setuptools comes from requirements-dev.lock: nothing unlocked is fetched for the build
        *("--use-pep517", "--no-build-isolation", "--no-cache-dir", "--requirement", lock),
        variables={
            "CFLAGS": f"-I{include} -I{include / PYTHON} -g0",
            "CPATH": str(include),
            "LDFLAGS": f"-L{libraries} -Wl,--build-id=none",
        },
        remedy="Run scripts/setup; if a file is gone from the index, images/runtime/update-lock.",
    )
