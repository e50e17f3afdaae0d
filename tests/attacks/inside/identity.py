"""Rows A: identity and privilege."""

import os
import stat
import subprocess

from attack import EACCES, EPERM, Broken, attack, refused, status

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def _identity():
    assert os.getresuid() == (4242,) * 3
    assert os.getresgid() == (4242,) * 3


@attack("A2", "inherited groups survive the drop", _identity)
def inherited_groups():
    # 65534 is how an own user namespace shows a group that it does not map.
    left = set(status()["Groups"].split()) - {"4242", "65534"}
    if left:
        raise Broken(f"groups {left}")


@attack("A3", "group 0 is joined again", _identity)
def join_group_zero():
    refused(lambda: os.setgroups([0]), EPERM, what="setgroups")
    refused(lambda: os.setresgid(0, 0, 0), EPERM, 22, what="setresgid")


@attack("A5", "a capability is left", _identity)
def capabilities():
    found = status()
    left = {name: found[name] for name in CAPABILITY_SETS if int(found[name], 16)}
    if left or found["NoNewPrivs"] != "1":
        raise Broken(f"{left}, NoNewPrivs {found['NoNewPrivs']}")


@attack("A5", "root is regained", _identity)
def regain_root():
    refused(lambda: os.setresuid(0, 0, 0), EPERM, 22, what="setresuid")
    refused(lambda: os.setreuid(-1, 0), EPERM, 22, what="setreuid")


def _run_true():
    subprocess.run(["/bin/true"], check=True)


@attack("A6", "a setuid program of the image gains root", _run_true)
def setuid_programs():
    tried = 0
    for directory in ("/usr/bin", "/bin"):
        for entry in os.scandir(directory):
            mode = entry.stat(follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) or not mode & stat.S_ISUID or entry.name != "su":
                continue
            tried += 1
            done = subprocess.run(
                [entry.path, "-c", "id -u"],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
            )
            if done.stdout.strip() == "0":
                raise Broken(entry.path)
    if not tried:
        raise Broken("the image has no setuid program: nothing was tried")


def _read_accounts():
    with open("/etc/passwd") as file:
        assert file.read()


@attack("A7", "account files are rewritten for the next start", _read_accounts)
def account_files():
    for name in ("passwd", "group", "nsswitch.conf", "new-file"):
        path = f"/etc/{name}"
        refused(lambda path=path: open(path, "a").close(), EACCES, EPERM, 30, what=path)
    refused(lambda: os.rename("/etc/passwd", "/etc/passwd-"), EACCES, EPERM, 30, 18, what="rename")
