"""Shared libraries: which are needed, that each is ours, that none remembers the build machine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from images.runtime.commands import BuildFailed, run

LOADER = "ld-linux-x86-64.so.2"
ELF_MAGIC = b"\x7fELF"
ORIGIN = "$ORIGIN"


def elf_files(tree: Path) -> list[Path]:
    """Every ELF file of the tree, in a stable order."""
    return [path for path in sorted(tree.rglob("*")) if path.is_file() and _is_elf(path)]


def copy_needed_libraries(tree: Path, root: Path) -> None:
    """Copy the closure of DT_NEEDED into ``tree/lib``, looked up in the unpacked packages only."""
    waiting = elf_files(tree)
    while waiting:
        for name in run("patchelf", "--print-needed", waiting.pop()).split():
            kept = tree / "lib" / name
            if name == LOADER or kept.exists():
                continue
            shutil.copyfile(find_library(root, name), kept)
            waiting.append(kept)


def find_library(root: Path, name: str) -> Path:
    """Where the unpacked packages hold a library."""
    for place in _library_directories(root):
        if (place / name).exists():
            return (place / name).resolve()
    raise BuildFailed(f"no package holds {name}", "Add the package to images/runtime/debs.in.")


def strip_and_relocate(tree: Path) -> None:
    """Strip every ELF file, and remove run paths: they name directories of the build machine."""
    for path in elf_files(tree):
        run("strip", "--strip-unneeded", path)
        run_path = run("patchelf", "--print-rpath", path).strip()
        if run_path and not all(part.startswith(ORIGIN) for part in run_path.split(":")):
            run("patchelf", "--remove-rpath", path)


def _library_directories(root: Path) -> Iterator[Path]:
    for place in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib"):
        yield root / place


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(ELF_MAGIC)) == ELF_MAGIC
