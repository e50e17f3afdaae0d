"""What the runtime does not need, and the one module of the standard library that it replaces."""

import shutil
from pathlib import Path

from images.runtime.commands import BuildFailed

# Below lib/python3.11. Each pattern must match something: a stale line is an error.
STANDARD_LIBRARY = (
    # programs and toolkits for people
    *("pydoc_data", "pydoc.py", "turtle.py", "pdb.py", "doctest.py", "cgi.py", "cgitb.py"),
    *("curses", "webbrowser.py", "antigravity.py", "this.py", "venv", "zipapp.py", "test"),
    # protocols that nothing here speaks
    *("xmlrpc", "wsgiref", "imaplib.py", "nntplib.py", "poplib.py", "smtpd.py", "smtplib.py"),
    *("telnetlib.py", "ftplib.py", "mailbox.py", "mailcap.py", "dbm", "xml", "html", "plistlib.py"),
    *("http/server.py", "http/cookiejar.py", "http/cookies.py", "asynchat.py", "asyncore.py"),
    # sound, other systems, building extensions
    *("aifc.py", "chunk.py", "sndhdr.py", "sunau.py", "wave.py", "_aix_support.py"),
    *("_osx_support.py", "_sysconfigdata*", "config-*", "distutils", "EXTERNALLY-MANAGED"),
    *("ctypes/_aix.py", "asyncio/windows_events.py", "asyncio/windows_utils.py"),
    *("multiprocessing/popen_spawn_win32.py", "nturl2path.py"),
    # Python twins of modules that are there in C; profilers; relics
    *(
        "_pyio.py",
        "_pydecimal.py",
        "profile.py",
        "cProfile.py",
        "pstats.py",
        "trace.py",
        "timeit.py",
    ),
    *("pickletools.py", "pyclbr.py", "modulefinder.py", "tabnanny.py", "symtable.py", "imghdr.py"),
    *("uu.py", "xdrlib.py", "pipes.py", "crypt.py", "colorsys.py", "rlcompleter.py", "optparse.py"),
    # a link into the image's /etc
    "sitecustomize.py",
    # extension modules
    *("lib-dynload/_codecs_*", "lib-dynload/_crypt*", "lib-dynload/_curses*", "lib-dynload/_dbm*"),
    *("lib-dynload/_lsprof*", "lib-dynload/audioop*", "lib-dynload/ossaudiodev*"),
    *("lib-dynload/readline*", "lib-dynload/_test*", "lib-dynload/_xx*", "lib-dynload/xx*"),
    "lib-dynload/nis*",
)
# All other encodings are tables for texts that nothing here reads.
ENCODINGS = frozenset(
    {"__init__", "aliases", "ascii", "charmap", "cp1252", "cp437", "idna", "iso8859_1", "latin_1"}
    | {"punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_16", "utf_16_be"}
    | {"utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_8", "utf_8_sig"}
)
# Below site. cryptography needs only cffi's C half (_cffi_backend*.so); pycparser serves cffi.
SITE_PACKAGES = (
    *("bin", "cffi", "pycparser"),
    *("psutil/_psaix.py", "psutil/_psbsd.py", "psutil/_psosx.py", "psutil/_pssunos.py"),
    *("psutil/_pswindows.py", "pyroute2/dhcp", "pyroute2/decoder", "pyroute2/fixtures"),
)
SITE_FILES = ("*.pyi", "*.c", "*.h", "*.pxd", "*.pyx", "py.typed")

FIND_LIBRARY = '''"""Replaced by the runtime's build.

The stock find_library runs ldconfig, gcc and ld from PATH: programs of the image, as root, at the
mere import of asyncssh or pyroute2. None means "not found", which both accept.
"""


def find_library(name):
    return None
'''

# sysconfig reads this module. Debian's names paths of the image (TZPATH: its zoneinfo) and a
# compiler; an empty one leaves zoneinfo without any directory.
BUILD_SETTINGS = "_sysconfigdata__x86_64-linux-gnu.py"


def prune_standard_library(library: Path) -> None:
    """Remove what is never imported, and put our own ctypes.util and build settings in place."""
    _remove_each(library, STANDARD_LIBRARY)
    for module in library.glob("encodings/*.py"):
        if module.stem not in ENCODINGS:
            module.unlink()
    (library / "ctypes/util.py").write_text(FIND_LIBRARY)
    (library / BUILD_SETTINGS).write_text("build_time_vars = {}\n")


def prune_site(site: Path) -> None:
    """Remove tests, stubs, sources and metadata."""
    for metadata in site.glob("*.dist-info"):
        shutil.rmtree(metadata)
    _remove_each(site, SITE_PACKAGES)
    for pattern in SITE_FILES:
        for file in site.rglob(pattern):
            file.unlink()
    for tests in [path for path in site.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests)


def _remove_each(directory: Path, patterns: tuple[str, ...]) -> None:
    found = {pattern: list(directory.glob(pattern)) for pattern in patterns}
    stale = sorted(pattern for pattern, paths in found.items() if not paths)
    if stale:
        raise BuildFailed(f"{directory.name} has no {', '.join(stale)}", "Correct prune.py.")
    for path in (path for paths in found.values() for path in paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
