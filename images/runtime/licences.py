"""What others wrote in the tree: the texts of their licences, and the list of them.

licences/COMPONENTS           name, version and licence of each, separated by tabs
licences/NAME/…               its own texts
licences/common-licenses/…    the texts that these refer to
"""

import re
import shutil
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from images.runtime.commands import BuildFailed
from images.runtime.debs import Deb

# Debian packages that have files in the tree, and the licence of these files, as their copyright
# files say it.
DEBIAN = {
    "ca-certificates": "MPL-2.0",
    "libbz2-1.0": "bzip2-1.0.6",
    "libc6": "LGPL-2.1-or-later",
    "libcap2": "BSD-3-Clause OR GPL-2.0-only",
    "libexpat1": "MIT",
    "libffi8": "MIT",
    "libgcc-s1": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "liblzma5": "public domain",
    "libpython3.11-minimal": "PSF-2.0",
    "libpython3.11-stdlib": "PSF-2.0",
    "libsqlite3-0": "public domain",
    "libssl3": "Apache-2.0",
    "libuuid1": "BSD-3-Clause",
    "musl-dev": "MIT",
    "python3.11-minimal": "PSF-2.0",
    "zlib1g": "Zlib",
}
# What the build needs of others and leaves out of the tree: headers, texts, a parser of C.
NOT_IN_TREE = frozenset(
    {"base-files", "gcc-12-base", "libcap-dev", "libpython3.11-dev", "pycparser"}
)
# python-prctl's archive says it in its own COPYING, but the wheel made of it has neither.
UNSAID = {"python-prctl": "GPL-3.0-or-later"}
UNSAID_TEXTS = {"python-prctl": "GPL-3"}

COMPONENTS = "COMPONENTS"
COMMON = "common-licenses"
TEXT_NAMES = ("LICEN", "COPYING", "COPYRIGHT", "NOTICE", "AUTHORS", "SBOM")
_COMMON_TEXT = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9])")


class Component(NamedTuple):
    """One line of the list."""

    name: str
    version: str
    licence: str


def collect(debs: tuple[Deb, ...], root: Path, site: Path, licences: Path) -> None:
    """Write the texts and the list; ``site`` still has its metadata. BuildFailed where one lacks."""
    licences.mkdir()
    components = [*_of_debian(debs, root, licences), *_of_python(root, site, licences)]
    _copy_common_texts(root, licences)
    listed = "".join("\t".join(component) + "\n" for component in sorted(components))
    (licences / COMPONENTS).write_text(listed)


def _of_debian(debs: tuple[Deb, ...], root: Path, licences: Path) -> Iterator[Component]:
    for deb in debs:
        if deb.name in NOT_IN_TREE:
            continue
        if deb.name not in DEBIAN:
            raise BuildFailed(f"the licence of {deb.name} is not stated", "Add it to licences.py.")
        text = root / "usr/share/doc" / deb.name / "copyright"
        if not text.exists():
            raise BuildFailed(f"{deb.name} has no copyright file", "Add its package to debs.in.")
        (licences / deb.name).mkdir()
        shutil.copyfile(text, licences / deb.name / "copyright")
        yield Component(deb.name, deb.version, DEBIAN[deb.name])


def _of_python(root: Path, site: Path, licences: Path) -> Iterator[Component]:
    for metadata in sorted(site.glob("*.dist-info")):
        said = HeaderParser().parsestr((metadata / "METADATA").read_text())
        name, version = str(said["Name"]), str(said["Version"])
        if name in NOT_IN_TREE:
            continue
        licence = said["License-Expression"] or said["License"] or UNSAID.get(name)
        if not licence:
            raise BuildFailed(f"{name} states no licence", "Look it up for licences.py.")
        place = licences / name
        place.mkdir()
        for file in sorted(metadata.rglob("*")):
            if file.is_file() and file.name.upper().startswith(TEXT_NAMES):
                shutil.copyfile(file, place / file.name)
        if name in UNSAID_TEXTS:
            text = root / "usr/share/common-licenses" / UNSAID_TEXTS[name]
            shutil.copyfile(text, place / "COPYING")
        if not any(place.iterdir()):
            raise BuildFailed(f"{name} brings no licence text", "Look for it for licences.py.")
        yield Component(name, version, licence)


def _copy_common_texts(root: Path, licences: Path) -> None:
    """What Debian's copyright files refer to instead of repeating it."""
    texts = "".join(path.read_text(errors="replace") for path in licences.glob("*/copyright"))
    (licences / COMMON).mkdir()
    for name in sorted(set(_COMMON_TEXT.findall(texts))):
        shutil.copyfile(root / "usr/share/common-licenses" / name, licences / COMMON / name)
