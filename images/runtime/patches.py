"""Close the paths of the image that Debian's loader and libc would read code, or choices of code, from.

No variable and no option turns these off (reference: ld.so(8), nss(5)); an image, or root in it,
writes such a file and is executed by our privileged interpreter. So the strings themselves are
replaced, byte for byte at the same length, in our copies. Every replacement states how often its
string must occur: a libc that differs from the one this was written for fails the build.
"""

from dataclasses import dataclass
from pathlib import Path

from images.runtime.commands import BuildFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Replace ``old`` by ``new`` (same length), which must be there exactly ``count`` times."""

    old: bytes
    new: bytes
    count: int


def blank(file: bytes) -> Patch:
    """Turn a file's path that stands once, as a whole string, into "": opening "" is ENOENT."""
    return Patch(old=b"\0" + file + b"\0", new=b"\0\0" + file[1:] + b"\0", count=1)


def nowhere(directory: bytes, *, count: int = 1) -> Patch:
    """Turn a directory's path into one below /proc, where nobody can create anything.

    Not into "": libc joins names to it, and "" + "/C.UTF-8" would be a path of the image again.
    It also copies some of these with their compiled-in length, so the rest would stay in use.
    """
    new = b"/proc/no/".ljust(len(directory), b"x")
    return Patch(old=b"\0" + directory + b"\0", new=b"\0" + new + b"\0", count=count)


def unchanged(text: bytes) -> Patch:
    """A whole string that must be there as it is."""
    return Patch(old=b"\0" + text + b"\0", new=b"\0" + text + b"\0", count=1)


# Searched for any dlopen by soname after --library-path. The loader asserts that each begins with
# '/', and holds their lengths; /sys serves where five characters are all there is.
SYSTEM_DIRECTORIES = Patch(
    old=b"/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0",
    new=b"/proc/no/xxxxxxxxxxxx/\0/proc/no/xxxxxxxxxxxxxxxx/\0/sys/\0/proc/no/\0",
    count=2,
)
LOADER = (
    blank(b"/etc/ld.so.preload"),
    blank(b"/etc/ld.so.cache"),
    blank(b"/etc/suid-debug"),
    SYSTEM_DIRECTORIES,
)
LIBC = (
    # names libnss_*.so to load; without it the default holds, which is built in ("files", and
    # "files dns" for hosts): no module is looked for
    blank(b"/etc/nsswitch.conf"),
    unchanged(b"files dns"),
    nowhere(b"/usr/lib/x86_64-linux-gnu/gconv"),
    blank(b"/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache"),
    nowhere(b"/usr/lib/locale"),
    blank(b"/usr/lib/locale/locale-archive"),
    nowhere(b"/usr/share/locale", count=2),
    blank(b"/etc/localtime"),
    nowhere(b"/usr/share/zoneinfo"),
    # a socket on which a daemon of the image would answer for accounts and hosts; the compiler
    # holds this string as a 16-byte constant whose rest ("cket") stands in the code
    Patch(old=b"/var/run/nscd/so", new=b"/proc/no/nscd/so", count=1),
)


def apply(path: Path, patches: tuple[Patch, ...]) -> None:
    """Patch a file in place; BuildFailed, and the file untouched, unless every count is right."""
    content = path.read_bytes()
    for patch in patches:
        if len(patch.new) != len(patch.old):
            raise BuildFailed(f"{patch.old!r}: the replacement differs in length", "Correct it.")
        found = content.count(patch.old)
        if found != patch.count:
            raise BuildFailed(
                f"{path.name}: {patch.old!r} occurs {found} times, expected {patch.count}",
                "This libc differs from the one the patches were written for: look at what "
                "replaced the string before changing images/runtime/patches.py.",
            )
        content = content.replace(patch.old, patch.new)
    path.write_bytes(content)
