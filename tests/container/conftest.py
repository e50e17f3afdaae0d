"""What scripts/setup built: the runtime and the images. Nothing is built here."""

import os
from pathlib import Path

import pytest
from support.podman import has_image

PROJECT = Path(__file__).resolve().parents[2]
IMAGES = {
    "scratch": "localhost/sandbox-test/scratch",
    "busybox": "localhost/sandbox-test/busybox",
    "musl": "localhost/sandbox-test/musl",
    "debian": "localhost/sandbox-test/debian",
    "hostile": "localhost/sandbox-test/hostile",
    "programs": "localhost/sandbox-test/programs",
    "agent": "localhost/sandbox-agent",
    "supervisor": "localhost/sandbox-supervisor",
}


@pytest.fixture(scope="session")
def runtime_dir() -> Path:
    """The self-contained runtime; RUNTIME_DIR names another one than the project's own."""
    path = Path(os.environ.get("RUNTIME_DIR", PROJECT / ".build/runtime"))
    assert (path / "sandbox-supervisor").exists(), f"{path} is not built: run scripts/setup"
    return path


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Full image names by short name."""
    missing = [name for name in IMAGES.values() if not has_image(name)]
    assert not missing, f"not built: {', '.join(missing)}: run scripts/setup"
    return IMAGES
