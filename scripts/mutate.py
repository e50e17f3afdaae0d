"""scripts/mutate [--only WORD] [--json]: remove one hardening step at a time; who notices?

Each mutation is made in a copy of the project and of the runtime. In this order: the start (the
read-back or the proof refuses), the list of attacks, the room's own tests. Whatever nobody notices
is printed as SURVIVED, and the exit status is 1. Run as root; takes some minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]
sys.dont_write_bytecode = True

from support import attacks, sandbox  # noqa: E402
from support.attack_forms import Form, forms  # noqa: E402

from supervisor.fence import namespace  # noqa: E402
from supervisor.kernel import landlock  # noqa: E402
from supervisor.kernel.seccomp_table import workload  # noqa: E402
from supervisor.monitor.steps import STEPS  # noqa: E402

RUNTIME = Path(os.environ.get("SANDBOX_RUNTIME", PROJECT / ".build/runtime"))
# What has no part in containment, but makes a program run as it should.
LAUNCH_TESTS = ("tests/privileged/test_launch.py", "tests/privileged/test_seclusion.py")
FILE_TESTS = ("tests/privileged/test_landlock_live.py",)
CALL_TESTS = ("tests/unit/test_seccomp_refused.py", "tests/privileged/test_seccomp_attacks.py")
FENCE_TESTS = ("tests/unit/test_fence_rules.py", "tests/privileged/test_fence_closed.py")


@dataclass(frozen=True)
class Mutation:
    """Lines put behind a module, and the tests that are asked last."""

    name: str
    module: str
    lines: str
    tests: tuple[str, ...]


def mutations() -> Iterator[Mutation]:
    """Every step, right, scope, refused group of calls and group of fence rules."""
    for step in STEPS:
        lines = f"STEPS = tuple(step for step in STEPS if step.name != {step.name!r})"
        yield Mutation(f"step: {step.name}", "supervisor/monitor/steps.py", lines, LAUNCH_TESTS)
    for table in ("FILESYSTEM", "SCOPES"):
        for right in getattr(landlock, table):
            lines = f"{table} = tuple(right for right in {table} if right.name != {right.name!r})"
            name = f"landlock: {right.name}"
            yield Mutation(name, "supervisor/kernel/landlock.py", lines, FILE_TESTS)
    for rule in (*workload.REFUSED, *workload.CONDITIONAL):
        lines = (
            f"BASE = tuple(Rule(rule.names, ALLOW, rule.reason) if rule.names == {rule.names!r} else rule"
            " for rule in BASE)"
        )
        module = "supervisor/kernel/seccomp_table/workload.py"
        yield Mutation(f"calls: {rule.names[:40]}", module, lines, CALL_TESTS)
    for chain in namespace.ruleset(None).chains:
        emptied = (("rules", "()"),) if chain.rules else ()
        for change, value in (("default", "Verdict.ACCEPT"), *emptied):
            lines = (
                "_made = ruleset\n"
                "def ruleset(served):\n    table = _made(served)\n"
                f"    chains = tuple(c._replace({change}={value}) if c.name == {chain.name!r}"
                " else c for c in table.chains)\n    return table._replace(chains=chains)"
            )
            name = f"fence: {chain.name} {'accepts' if change == 'default' else 'has no rules'}"
            yield Mutation(name, "supervisor/fence/namespace.py", lines, FENCE_TESTS)
    yield from around()


def around() -> Iterator[Mutation]:
    """What stands beside the tables."""
    # Set twice, on the supervisor and on every launch: without one the other still holds.
    lines = "resource.setrlimit = lambda *_: None"
    yield Mutation("resource limits", "supervisor/startup/run.py", lines, LAUNCH_TESTS)
    seclusion = "supervisor/startup/seclusion.py"
    for name in ("mount_private_shm", "mount_private_proc"):
        lines = f"def {name}(*_, **__):\n    pass"
        yield Mutation(name, seclusion, lines, LAUNCH_TESTS)
    masks = "MASKED = ()"
    tests = ("tests/privileged/test_private_mounts.py",)
    yield Mutation("masked /proc", "supervisor/startup/private_mounts.py", masks, tests)
    tests = ("tests/privileged/test_trust_store.py",)
    for name, module, lines in (
        ("can be written", "private_mounts.py", "MS_RDONLY = 0"),
        ("of anybody", "trust_store.py", "def untrusted(_):\n    return None"),
        ("from anywhere", "trust_store.py", "def inside(*_):\n    return False"),
    ):
        yield Mutation(f"trust store: {name}", f"supervisor/startup/{module}", lines, tests)
    lines = "def confine_monitor(policy):\n    pass"
    tests = ("tests/attacks/test_attacks_inside.py", "-k", "every_thread_of_the_supervisor")
    yield Mutation("the monitor's filter", "supervisor/startup/run.py", lines, tests)
    lines = "class seccomp:\n    install = staticmethod(lambda *_: None)"
    yield Mutation("the init's filter", seclusion, lines, tests)
    both = (
        "tests/privileged/test_filters_of_our_own.py",
        "tests/container/test_sidecar_pod.py",
        "-k",
        "confined or every_thread",
    )
    for name, lines in (
        ("egress: filter", "class seccomp:\n    install = staticmethod(lambda *_, **__: None)"),
        ("egress: no file", "class landlock:\n    abi = staticmethod(lambda: 0)"),
        ("egress: privileges", "def shed_privileges(uid):\n    signal.pthread_sigmask(2, ())"),
    ):
        yield Mutation(name, "supervisor/egress/process.py", lines, both)
    for name, module, lines, tests in (
        (
            "the port as tracking has it",
            "server.py",
            "def _client_end(_sock, peer):\n    return _end(peer)",
            ("tests/attacks/test_program_rows.py", "-k", "j6 and namespace"),
        ),
        (
            "a connection that was reset",
            "caller.py",
            "_HELD_OPEN = range(99)",
            ("tests/component/test_caller.py",),
        ),
    ):
        yield Mutation(f"caller: {name}", f"supervisor/egress/{module}", lines, tests)
    yield from sidecar_pod()


def sidecar_pod() -> Iterator[Mutation]:
    """What holds where the network is enforced in another container."""
    pod = "tests/container/test_sidecar_pod.py"
    channel = ("tests/privileged/test_sidecar_channel.py",)
    whole = "lambda *_, **__: None"
    for name, module, lines, tests in (
        (
            "filter",
            "startup/sidecar.py",
            f"confine_monitor = {whole}",
            (pod, "-k", "every_thread"),
        ),
        (
            "agent's privileges are not looked at",
            "startup/network_only.py",
            (
                f"check_unprivileged = {whole}\nimport supervisor.startup.plan as plan\n"
                f"plan.check_unprivileged = {whole}"
            ),
            (pod, "-k", "any_privilege"),
        ),
        (
            "fence is not compared",
            "fence/pod_adoption.py",
            f"require_equal = {whole}",
            ("tests/privileged/test_fence_pod_adopted.py",),
        ),
        (
            "listener stays open",
            "sidecar/host.py",
            f"ControlHost._unlisten = {whole}",
            channel,
        ),
        (
            "peer of any uid is heard",
            "kernel/peer.py",
            (
                "_real = peer_of\ndef peer_of(connection):\n"
                "    return _real(connection)._replace(uid=51423, gid=51423)"
            ),
            channel,
        ),
    ):
        yield Mutation(f"sidecar: {name}", f"supervisor/{module}", lines, tests)


def mutate(mutation: Mutation, project: Path, runtime: Path) -> None:
    """Make the change in both copies; the runtime's byte-code of the module goes."""
    for root in (project, runtime / "app"):
        path = root / mutation.module
        text = path.read_text()
        path.unlink()
        path.write_text(f"{text}\n\n{mutation.lines}\n")
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            stale.unlink()


def refusal_in(stderr: str) -> str:
    """Code and cause of the refusal; the last line where it was none, but a crash."""
    lines = stderr.strip().splitlines()
    for line in lines:
        if line.startswith("{") and '"start.refused"' in line:
            refusal = json.loads(line)
            return f"{refusal['status_code']}: {refusal['status_detail']}"
    return lines[-1] if lines else "ended without a word"


def noticed_by(mutation: Mutation, known: dict[str, Form], project: Path) -> str:
    """Who notices; "" if nobody does."""
    for form in known.values():
        started = sandbox.sandboxed(
            "true", identity=form.identity, options=form.options, arguments=form.arguments
        )
        if started.returncode:
            return f"start ({form.name}): {refusal_in(started.stderr)}"
    outcomes = attacks.attack(known["sys-admin"])
    broken = [row for row, found in outcomes.items() if found["held"] != "ok"]
    if broken:
        return f"attack: {broken[0]}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *mutation.tests],
        cwd=project, capture_output=True, text=True,
        env={**os.environ, "SANDBOX_RUNTIME": str(sandbox.RUNTIME)},
    )  # fmt: skip
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return f"test: {failed[0].split(' ')[1]}" if failed else ""


def examine(mutation: Mutation) -> str:
    """One mutation, in copies that end with it."""
    with tempfile.TemporaryDirectory(prefix="mutate-", dir=RUNTIME.parent) as place:
        project, runtime = Path(place) / "project", Path(place) / "runtime"
        Path(place).chmod(0o755)
        ignored = shutil.ignore_patterns(".build", ".venv", ".git", "__pycache__", ".*_cache")
        shutil.copytree(PROJECT, project, ignore=ignored)
        shutil.copytree(RUNTIME, runtime, copy_function=os.link)  # mutate() never writes in place
        mutate(mutation, project, runtime)
        sandbox.RUNTIME = runtime
        with forms() as known:
            return noticed_by(mutation, known, project)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only mutations whose name holds this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {}
    for mutation in mutations():
        if arguments.only in mutation.name:
            found[mutation.name] = examine(mutation)
            if not arguments.json:
                seen = found[mutation.name] or "SURVIVED"
                print(f"{mutation.name:48} {seen[:150]}", flush=True)
    if arguments.json:
        print(json.dumps(found))
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
