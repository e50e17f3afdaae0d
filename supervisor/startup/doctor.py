"""What this kernel and this container allow, what is missing, and how to get it.

Each check tries the thing itself where that leaves nothing behind, and otherwise reads what the
kernel says. Nothing is decided here; ``run`` asks its own questions.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from supervisor.errors import Refusal
from supervisor.kernel import capabilities
from supervisor.startup.facts import Facts

# Directories that hold an image's programs; a setuid file elsewhere gains nothing either, because
# of no_new_privs, so the list is for information and may stay short.
PROGRAM_DIRECTORIES = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/lib")
PROGRAMS_LOOKED_AT = 20_000  # an ordinary image has fewer than a tenth of that
NAMED = 12
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
# advice: the start goes on without it, and the report says so
Found = Literal["found", "missing", "advice", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the diagnosis."""

    name: str
    found: Found
    detail: str
    remedy: str = ""


def diagnose(facts: Facts) -> Iterator[Check]:
    """Every check, in the order in which a start would need them."""
    for check in (
        _kernel, _main_process, _privileges, _fence, _landlock, _seccomp, _process_limit,
        _account_files, _surroundings, _token, _foreign_roots, _setuid, _entering,
    ):  # fmt: skip
        yield check(facts)


def _kernel(facts: Facts) -> Check:
    return Check(name="kernel", found="note", detail=facts.kernel)


def _main_process(facts: Facts) -> Check:
    where = f"pid {facts.pid}, parent {facts.ppid}"
    if facts.is_main_process:
        return Check(name="main process", found="found", detail=where)
    remedy = "As entrypoint, without an init in front, the container ends with the supervisor."
    return Check(name="main process", found="missing", detail=where, remedy=remedy)


def _privileges(facts: Facts) -> Check:
    held = ", ".join(capabilities.names(facts.status.effective)) or "none"
    detail = f"uid {facts.uid}, capabilities: {held}"
    if facts.uid != 0 and not facts.status.permitted:
        return Check(name="privileges", found="found", detail=f"{detail} (nothing to give away)")
    needed = ("SETUID", "SETGID", "SETPCAP", "KILL", "CHOWN")
    missing = [name for name in needed if not capabilities.has(facts.status.effective, name)]
    if not missing:
        return Check(name="privileges", found="found", detail=detail)
    remedy = f"--cap-add {','.join(missing)}, or start the container as the workload's own uid."
    return Check(name="privileges", found="missing", detail=detail, remedy=remedy)


def _fence(facts: Facts) -> Check:
    from supervisor.fence.setup import create_namespace

    try:
        fence = create_namespace(None)
    except Refusal as refusal:
        detail = f"{refusal.code.name}: {refusal.cause}"
        if facts.may_fence_pod:  # not tried: its rules would stay
            detail = f"form pod; no own namespace: {refusal.cause}"
            return Check(name="closed network", found="found", detail=detail)
        return Check(name="closed network", found="missing", detail=detail, remedy=refusal.remedy)
    for descriptor in (fence.net, fence.user, *fence.sockets.values()):
        if descriptor is not None:
            os.close(descriptor)
    through = ", through a user namespace" if fence.report.user_namespace else ""
    detail = f"form {fence.report.form}{through}, {fence.report.rules} rules read back"
    return Check(name="closed network", found="found", detail=detail)


def _landlock(facts: Facts) -> Check:
    if facts.landlock_abi:
        return Check(name="landlock", found="found", detail=f"ABI {facts.landlock_abi}")
    remedy = (
        "Linux 5.13 or newer, booted with landlock in lsm=, and an engine that lets it through."
    )
    return Check(name="landlock", found="missing", detail="not available", remedy=remedy)


def _seccomp(facts: Facts) -> Check:
    try:
        with open("/proc/sys/kernel/seccomp/actions_avail", encoding="ascii") as file:
            actions = file.read().strip()
    except OSError:
        remedy = "A kernel with CONFIG_SECCOMP_FILTER."
        return Check(name="seccomp", found="missing", detail="no actions listed", remedy=remedy)
    engine = "the engine's filter is on" if facts.status.seccomp else "no filter of the engine"
    return Check(name="seccomp", found="found", detail=f"{actions}; {engine}")


def _process_limit(facts: Facts) -> Check:
    if facts.pids_max is not None:
        return Check(name="process limit", found="found", detail=f"pids.max {facts.pids_max}")
    remedy = "podman run --pids-limit N; in Kubernetes the kubelet's podPidsLimit."
    return Check(name="process limit", found="advice", detail="unlimited", remedy=remedy)


def _account_files(facts: Facts) -> Check:
    if facts.uid == 0 and facts.etc_writable:
        detail = "/etc is writable: a missing account is added"
    else:
        detail = "/etc is not writable for us: HOME and USER alone tell who the workload is"
    return Check(name="account files", found="note", detail=detail)


def _surroundings(facts: Facts) -> Check:
    seen = ", ".join(facts.surroundings) or "no engine recognised"
    return Check(name="surroundings", found="note", detail=seen)


def _token(_: Facts) -> Check:
    if not os.path.exists(TOKEN_DIRECTORY):
        return Check(name="service account", found="found", detail="no token is mounted")
    remedy = "Set automountServiceAccountToken: false on the pod."
    detail = f"a Kubernetes token lies in {TOKEN_DIRECTORY}"
    return Check(name="service account", found="advice", detail=detail, remedy=remedy)


def _foreign_roots(facts: Facts) -> Check:
    import psutil

    others = [
        f"{process.pid} {process.name()}"
        for process in psutil.process_iter()
        if process.pid not in (facts.pid, facts.ppid) and _runs_as_root(process.uids)
    ]
    if not others:
        return Check(name="other root processes", found="found", detail="none in sight")
    remedy = "Do not share the PID namespace with containers that run as root."
    detail = ", ".join(others[:NAMED])
    return Check(name="other root processes", found="note", detail=detail, remedy=remedy)


def _runs_as_root(uids: Callable[[], tuple[int, ...]]) -> bool:
    import psutil

    try:
        return uids()[1] == 0
    except psutil.NoSuchProcess:
        return False  # it ended meanwhile


def _setuid(_: Facts) -> Check:
    files = [path for path in _programs() if os.lstat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)]
    if not files:
        return Check(name="setuid files", found="found", detail="none among the image's programs")
    detail = f"{len(files)}: {' '.join(files[:NAMED])} (they gain nothing: no_new_privs)"
    return Check(name="setuid files", found="note", detail=detail)


def _programs() -> Iterator[str]:
    looked_at = 0
    for directory in PROGRAM_DIRECTORIES:
        if os.path.islink(directory) or not os.path.isdir(directory):
            continue
        with os.scandir(directory) as entries:
            for entry in entries:
                looked_at += 1
                if looked_at > PROGRAMS_LOOKED_AT:
                    return
                if entry.is_file(follow_symlinks=False):
                    yield entry.path


def _entering(_: Facts) -> Check:
    detail = (
        "podman exec and kubectl exec enter the container, not the sandbox: keep them to people"
    )
    return Check(name="entering", found="note", detail=detail)
