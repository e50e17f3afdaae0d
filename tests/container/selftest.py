"""Run by the runtime's own interpreter inside a container: use everything, report as JSON.

It does on purpose what privileged code of the supervisor never does (name service, locale, TLS
defaults, find_library, programs by bare name): the runtime must be closed even then.
"""

import json
import os
import subprocess
import sys
import time

DIR = sys.executable.removesuffix("/bin/python3")
sys.path[:] = [
    f"{DIR}/lib/python3.11",
    f"{DIR}/lib/python3.11/lib-dynload",
    f"{DIR}/site",
    f"{DIR}/app",
]
PACKAGES = (
    "asyncio asyncssh bz2 cryptography.x509 ctypes.util dns.message dns.resolver h11 hashlib lzma "
    "idna policy prctl psutil pyroute2 ruamel.yaml sqlite3 ssl structlog supervisor.cli.main "
    "zoneinfo"
)


def imports():
    import importlib

    for name in PACKAGES.split():
        importlib.import_module(name)
    return len(PACKAGES.split())


def outside(paths):
    return sorted({path for path in paths if not path.startswith(f"{DIR}/")})


def mapped_outside():
    with open("/proc/self/maps") as maps:
        fields = [line.split(maxsplit=5) for line in maps]
    return outside(field[5].strip() for field in fields if len(field) > 5 and "/" in field[5])


def imported_outside():
    # multiprocessing knows __main__ by a second name
    modules = {id(m): m for m in sys.modules.values() if m is not sys.modules["__main__"]}.values()
    return outside(getattr(module, "__file__", None) or f"{DIR}/" for module in modules)


def certificates():
    import ssl

    return len(ssl.create_default_context().get_ca_certs())


def names():
    """Whatever the answers are, no module of the image may be loaded for them."""
    import grp
    import pwd
    import socket

    answers = []
    for ask in (
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.getaddrinfo("no-such.invalid", 80),
        lambda: socket.getservbyname("https"),
        lambda: pwd.getpwuid(os.getuid()),
        lambda: grp.getgrgid(4242),
    ):
        try:
            ask()
            answers.append("found")
        except (OSError, KeyError):
            answers.append("not found")
    return len(answers)


def locale_and_time():
    import locale
    import zoneinfo

    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        codecs_outside = True
    except locale.Error:
        codecs_outside = False
    return [codecs_outside, time.localtime(0).tm_hour, list(zoneinfo.TZPATH)]


def programs():
    """What subprocess and shutil find by a bare name; and a workload of the image by its path."""
    import ctypes.util
    import shutil

    hello = subprocess.run(["/hello", "there"], capture_output=True, text=True, env={})
    return [shutil.which("gcc"), ctypes.util.find_library("c"), hello.stdout.strip()]


def reexecuted():
    code = "import os, sys; print(sys.flags.isolated, os.readlink('/proc/self/exe'))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return child.stdout.strip()


def process():
    import prctl

    prctl.set_no_new_privs(1)
    with open("/proc/self/comm") as comm:
        return [comm.read().strip(), prctl.get_no_new_privs(), sys.getfilesystemencoding()]


CHECKS = (
    imports,
    certificates,
    names,
    locale_and_time,
    programs,
    reexecuted,
    process,
    imported_outside,
    mapped_outside,
)

if __name__ == "__main__":
    report = {"pid": os.getpid(), "uid": os.getuid(), "dir": DIR, "path": outside(sys.path)}
    report |= {check.__name__: check() for check in CHECKS}
    report["environment"] = dict(os.environ)
    print(json.dumps(report))
