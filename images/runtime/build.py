"""Build the self-contained runtime: ``python -m images.runtime.build`` from the project's root.

Two stages. The *base* (interpreter, libraries, packages, their byte-code) is made from locked
packages only and cached by what went into it. The *tree* is the base with the launcher and our
own code, made anew every time, which takes about a second.
"""

import argparse
import hashlib
import platform
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from images.runtime import debs, elf, licences, manifest, patches, prune, wheels
from images.runtime.commands import BuildFailed, run
from supervisor.startup.trust_store import MOUNT_POINT

PROJECT = Path(__file__).resolve().parents[2]
RECIPE = PROJECT / "images/runtime"
DEBS_LOCK = RECIPE / "debs.lock"
WHEELS_LOCK = PROJECT / "requirements.lock"
# What an image, a volume copy and a pull may cost.
MIB = 1 << 20
MAX_ON_DISK = 70 * MIB
MAX_COMPRESSED = 25 * MIB
KEPT_BASES = 2  # this branch's and the one before: each is some 65 MB
LAUNCHER_FLAGS = ("-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none")

Maker = Callable[[Path], None]


def main() -> int:
    """Build, print the digest and the sizes; 1 with cause and remedy when it cannot be done."""
    parser = argparse.ArgumentParser(prog="images.runtime.build", description=__doc__)
    parser.add_argument("--output", type=Path, default=PROJECT / ".build/runtime")
    parser.add_argument("--cache", type=Path, default=PROJECT / ".build/cache")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        require_platform()
        base = cached_base(arguments.cache)
        digest = build_tree(base, arguments.output)
        size = sizes(arguments.output, base)
        seconds = time.monotonic() - began
        print(f"runtime: {arguments.output}: sha256:{digest}, {size}, in {seconds:.1f} s")
    except BuildFailed as failed:
        print(f"runtime: cannot be built: {failed}", file=sys.stderr)
        return 1
    return 0


def require_platform() -> None:
    """The locked packages and the patched strings are those of one architecture."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise BuildFailed(f"{platform.machine()}: not supported", "Build on x86_64 Linux.")


def sizes(tree: Path, base: Path) -> str:
    """The tree's sizes, in words; BuildFailed when it is too large."""
    on_disk = manifest.size_on_disk(tree)
    # Compressing the base takes seconds, so its size was kept beside it; only app/ is new.
    compressed = int(base.with_suffix(".size").read_text()) + manifest.size_compressed(tree / "app")
    for what, size, limit in (
        ("on disk", on_disk, MAX_ON_DISK),
        ("compressed", compressed, MAX_COMPRESSED),
    ):
        if size > limit:
            raise BuildFailed(f"{size} bytes {what}, at most {limit}", "Prune what is not used.")
    return f"{on_disk / MIB:.1f} MiB on disk, {compressed / MIB:.1f} MiB compressed"


def cached_base(cache: Path) -> Path:
    """The base tree for today's locks and recipe, built when the cache has none."""
    base = cache / f"base-{key_of(DEBS_LOCK, WHEELS_LOCK, *sorted(RECIPE.glob('*.py')))}"
    if not base.with_suffix(".size").exists():
        root = cached(cache, f"root-{key_of(DEBS_LOCK)}", unpack_packages)
        site = cached(cache, f"site-{key_of(DEBS_LOCK, WHEELS_LOCK)}", lambda at: install(root, at))
        shutil.rmtree(base, ignore_errors=True)  # made, but its size was not: interrupted
        cached(cache, base.name, lambda at: build_base(root, site, at))
        base.with_suffix(".size").write_text(str(manifest.size_compressed(base)))
        forget_old(cache, base)
    return base


def build_base(root: Path, site: Path, tree: Path) -> None:
    """Interpreter, libraries, packages and configuration, with byte-code."""
    library = tree / "lib/python3.11"
    # usr/lib/python3.11 holds links into /etc and dangling ones: prune removes what is left of them
    shutil.copytree(root / "usr/lib/python3.11", library, symlinks=True)
    shutil.copytree(site, tree / "site", symlinks=True)
    prune.prune_standard_library(library)
    licences.collect(debs.read_lock(DEBS_LOCK), root, tree / "site", tree / "licences")
    prune.prune_site(tree / "site")
    shutil.copyfile(root / "usr/bin/python3.11", tree / "lib/python3.elf")
    elf.copy_needed_libraries(tree, root)
    shutil.copyfile(elf.find_library(root, elf.LOADER), tree / "lib/sandbox-supervisor")
    legacy = elf.find_library(root, "ossl-modules/legacy.so")
    (tree / "lib/ossl-modules").mkdir()
    shutil.copyfile(legacy, tree / "lib/ossl-modules/legacy.so")
    elf.strip_and_relocate(tree)
    patches.apply(tree / "lib/sandbox-supervisor", patches.LOADER)
    patches.apply(tree / "lib/libc.so.6", patches.LIBC)
    write_configuration(root, tree)
    compile_launcher(tree)
    for part in ("lib/python3.11", "site"):
        compile_byte_code(tree, part)


def write_configuration(root: Path, tree: Path) -> None:
    """The files that stand in for the image's own."""
    (tree / "etc").mkdir()
    authorities = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (tree / "etc/cert.pem").write_text("".join(path.read_text() for path in authorities))
    (tree / "etc/openssl.cnf").write_text("# Empty on purpose: no provider, engine or include.\n")
    # The interpreter looks for lib/python311.zip in every parent directory of bin/ before it looks
    # for lib/python3.11: an empty one here ends the search inside the tree.
    zipfile.ZipFile(tree / "lib/python311.zip", "w").close()


def compile_launcher(tree: Path) -> None:
    """Both forms of the static launcher."""
    source = RECIPE / "launcher.c"
    (tree / "bin").mkdir(exist_ok=True)
    run("musl-gcc", *LAUNCHER_FLAGS, "-o", tree / "sandbox-supervisor", source)
    run("musl-gcc", *LAUNCHER_FLAGS, "-DBARE", "-o", tree / "bin/python3", source)
    # copyfile made it 0644; the kernel reads its interpreter path from the image's /lib64, which is
    # why python3.elf stays 0644 and only ever runs as an argument of the loader
    (tree / "lib/sandbox-supervisor").chmod(0o755)


def compile_byte_code(tree: Path, part: str) -> None:
    """Compile below ``part`` with the tree's own interpreter, in a process of its own.

    One process a part: what marshal writes depends on which strings the process has seen, and
    parts are rebuilt independently. Paths are relative, and replaced at import.
    """
    run(
        *(tree / "bin/python3", "-m", "compileall", "-q", "-f"),
        *("--invalidation-mode", "unchecked-hash", "-s", tree, "-p", "", tree / part),
        remedy="The bundled interpreter failed: see its message.",
    )


def build_tree(base: Path, output: Path) -> str:
    """The base with the launcher and our own code; its digest, which is also kept beside it.

    An unchanged tree stays where it is. A changed one moves aside and is removed by the next
    change: containers may be running from it.
    """
    fresh, previous = beside(output, "new"), beside(output, "previous")
    fresh.mkdir(parents=True)
    fill_tree(base, fresh)
    digest = manifest.digest(fresh)
    if output.exists() and manifest.digest(output) == digest:
        shutil.rmtree(fresh)
    else:
        shutil.rmtree(previous, ignore_errors=True)
        if output.exists():
            output.rename(previous)
        fresh.rename(output)
    output.with_suffix(".digest").write_text(f"{digest}\n")
    return digest


def fill_tree(base: Path, tree: Path) -> None:
    """Add to a copy of the base what is ours."""
    shutil.copytree(base, tree, dirs_exist_ok=True)
    compile_launcher(tree)
    for package in ("supervisor", "policy"):
        shutil.copytree(
            PROJECT / package, tree / "app" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copyfile(RECIPE / "app_main.py", tree / "app/main.py")
    compile_byte_code(tree, "app")
    (tree / MOUNT_POINT).mkdir()
    manifest.normalise(tree)
    manifest.record_digest(tree)


def unpack_packages(root: Path) -> None:
    """The locked Debian packages, unpacked."""
    root.rmdir()
    debs.unpack(debs.read_lock(DEBS_LOCK), root.parent / "debs", root)


def install(root: Path, site: Path) -> None:
    """The locked Python packages."""
    wheels.install(WHEELS_LOCK, root, site)


def cached(cache: Path, name: str, make: Maker) -> Path:
    """``cache/name``, made when it is not there; an interrupted making leaves nothing behind."""
    kept = cache / name
    if not kept.exists():
        fresh = beside(kept, "new")
        fresh.mkdir(parents=True)
        make(fresh)
        fresh.rename(kept)
    return kept


def beside(path: Path, what: str) -> Path:
    """A hidden sibling's name; one that an interrupted build left is removed if ``new``."""
    sibling = path.with_name(f".{path.name}.{what}")
    if what == "new":
        shutil.rmtree(sibling, ignore_errors=True)
    return sibling


def forget_old(cache: Path, current: Path) -> None:
    """Remove all but the newest bases."""
    bases = sorted(cache.glob("base-*.size"), key=lambda path: path.stat().st_mtime)
    for size in bases[:-KEPT_BASES]:
        if size.with_suffix("") != current:
            shutil.rmtree(size.with_suffix(""), ignore_errors=True)
            size.unlink()


def key_of(*files: Path) -> str:
    """A short digest of what files say."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return whole.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
