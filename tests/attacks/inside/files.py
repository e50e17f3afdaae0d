"""Rows B: files."""

import errno
import fcntl
import os
import tempfile

from attack import EACCES, ENOSYS, EPERM, Broken, attack, refused

READ_ONLY = ("/etc/hostname", "/usr/bin/env", "/opt/attacks/run.py")
DENIED = (EACCES, EPERM, errno.EROFS)
RNDGETENTCNT, TIOCGWINSZ = 0x80045200, 0x5413


def _own_file():
    with tempfile.NamedTemporaryFile(dir=".") as file:
        file.write(b"x")
        file.flush()
        os.truncate(file.name, 0)
        os.link(file.name, file.name + "-hard")
        os.rename(file.name + "-hard", file.name + "-moved")
        os.unlink(file.name + "-moved")


@attack("B5", "a read-only file is emptied", _own_file)
def truncate():
    for path in READ_ONLY:
        refused(lambda path=path: os.truncate(path, 0), *DENIED, what=f"truncate {path}")
        refused(
            lambda path=path: os.open(path, os.O_RDONLY | os.O_TRUNC),
            *DENIED,
            what=f"O_TRUNC {path}",
        )


def _read_urandom():
    with open("/dev/urandom", "rb") as device:
        device.read(1)


@attack("B6", "a device takes requests it was only readable for", _read_urandom)
def device_ioctl():
    with open("/dev/urandom", "rb") as device:
        refused(lambda: fcntl.ioctl(device, RNDGETENTCNT, bytes(4)), EACCES, what="ioctl")


@attack("B7", "a file is linked or moved across the policy's borders", _own_file)
def refer():
    denied = (*DENIED, errno.EXDEV)
    refused(lambda: os.link("/etc/hostname", "stolen"), *denied, what="link in")
    refused(lambda: os.rename("/etc/hostname", "stolen"), *denied, what="move in")
    with open("mine", "w"):
        pass
    try:
        for target in ("/usr/bin/mine", "/etc/mine", "/mine"):
            refused(lambda target=target: os.rename("mine", target), *denied, what=target)
    finally:
        os.unlink("mine")


@attack("B9", "a descriptor of the supervisor is inherited", lambda: os.fstat(0))
def descriptors():
    left = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
        if int(name) > 2 and not target.startswith("/proc/"):
            left.append(f"{name} -> {target}")
    if left:
        raise Broken(", ".join(left))


def _sealed_memory():
    os.close(os.memfd_create("data", 0x08))


@attack("B10", "an anonymous file is executed", _sealed_memory)
def memfd_exec():
    refused(lambda: os.memfd_create("program", 0x10), ENOSYS, what="MFD_EXEC")
    refused(lambda: os.memfd_create("program", 0), ENOSYS, what="no seal")
    descriptor = os.memfd_create("program", 0x08)
    with open("/bin/true", "rb") as program:
        os.write(descriptor, program.read())
    refused(lambda: os.execve(descriptor, ["true"], {}), EACCES, EPERM, what="execute a sealed one")
    os.close(descriptor)


@attack("B11", "a path that did not exist at the start is made and used", _own_file)
def later_paths():
    for path in ("/srv/later", "/mnt/later", "/later", "/run/later"):
        refused(lambda path=path: os.mkdir(path), *DENIED, errno.ENOENT, what=path)


@attack("B18", "a file that the supervisor reads is replaced", _own_file)
def own_tree():
    tree = "/opt/sandbox-supervisor"
    for name in ("etc/cert.pem", "app/main.py", "sandbox-supervisor", "new"):
        path = f"{tree}/{name}"
        refused(lambda path=path: open(path, "a").close(), *DENIED, what=path)
