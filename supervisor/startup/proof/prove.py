"""Run the probes in a child that is launched like the workload, and judge what came back.

The child is the launch code's own: the same steps in the same order, and then a function of ours
where the workload's program would be. Exec would change nothing of what is proved: identity,
namespaces, domain and filter stay as they are. A second child, without the filter of system calls,
shows that the fence holds alone against protocols that the filter refuses.

The child answers with one number for each probe: even a forged answer is only numbers.
"""

import errno
import os
import select
import shutil
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from supervisor.errors import Refusal
from supervisor.kernel import nflog
from supervisor.monitor.launch import launch
from supervisor.monitor.spec import Confinement, Launch
from supervisor.startup import codes
from supervisor.startup.filesystem_rules import inside
from supervisor.startup.proof import calls, files, network, processes
from supervisor.startup.proof.model import Ground, Probe, Sight, Surprise

DEADLINE_S = 10.0  # a tenth of a second on an idle machine
SUCCEEDED, RAISED = 0, -1  # beside the errno of what the kernel refused
SHOWN = 5  # surprises in a refusal; the rest is in 'report --prove'
FOR_ALL = 0o777  # so that nothing but Landlock stands in the way
# Where a directory for all can stand that the policy does not name.
PLACES = ("/dev", "/run", "/", "/var/tmp")  # noqa: S108 - looked for, not relied on


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was tried, by control, and what did not go as it must."""

    tried: dict[str, tuple[str, ...]]
    surprises: tuple[Surprise, ...]
    took_ms: float

    def as_dict(self) -> dict[str, object]:
        """The JSON object of the report."""
        return {
            "probes": {control: list(names) for control, names in self.tried.items()},
            "surprises": [{"probe": probe, "what": what} for probe, what in self.surprises],
            "took_ms": self.took_ms,
        }


def prove(ground: Ground, confinement: Confinement, log: int | None) -> Proof:
    """Try everything. ``log`` is the fence's NFLOG socket, where it has one.

    Raises Refusal where a child cannot be launched or does not answer.
    """
    began = time.monotonic()
    alone = replace(confinement, seccomp=None)
    tried: list[Probe] = []
    surprises: list[Surprise] = []
    with _outside(ground) as outside, _watch(log) as watching:
        here = replace(ground, outside=outside)
        for confined, probes in (
            (confinement, probes_of(here)),
            (alone, tuple(network.probes_of_the_fence_alone(here))),
        ):
            answers = _run(probes, confined, here)
            tried += probes
            surprises += judge(probes, answers, _seen(watching))
    names: dict[str, tuple[str, ...]] = {}
    for probe in tried:
        names[probe.control] = (*names.get(probe.control, ()), probe.name)
    took = round((time.monotonic() - began) * 1000, 1)
    return Proof(tried=names, surprises=tuple(surprises), took_ms=took)


def require_no_surprise(proof: Proof) -> None:
    """Raise Refusal naming the probes that did not go as they must."""
    if proof.surprises:
        listed = [f"{probe}: {what}" for probe, what in proof.surprises[:SHOWN]]
        more = len(proof.surprises) - SHOWN
        raise Refusal(codes.PROOF_FAILED, "; ".join([*listed, *([f"{more} more"] * (more > 0))]))


def probes_of(ground: Ground) -> tuple[Probe, ...]:
    """Everything that is tried in exactly the workload's confinement."""
    rooms = (network, files, calls, processes)
    return tuple(probe for room in rooms for probe in room.probes(ground))


def judge(
    probes: Sequence[Probe], answers: Sequence[int], seen: frozenset[Sight]
) -> Iterator[Surprise]:
    """Compare what happened with what must happen. Pure."""
    for probe, answer in zip(probes, answers, strict=True):
        if answer == RAISED:
            yield Surprise(probe.name, "the probe itself failed")
        elif answer == SUCCEEDED and probe.answers:
            yield Surprise(probe.name, "succeeded")
        elif answer != SUCCEEDED and answer not in probe.answers:
            expected = " or ".join(map(_name, sorted(probe.answers))) or "success"
            yield Surprise(probe.name, f"{_name(answer)} instead of {expected}")
        elif probe.sight is not None and answer not in probe.unsent and probe.sight not in seen:
            yield Surprise(probe.name, f"{_name(answer)}, but the fence did not see it")


def _name(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def _run(probes: tuple[Probe, ...], confinement: Confinement, ground: Ground) -> Sequence[int]:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    quiet = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    form = struct.Struct(f"<{len(probes)}h")
    what = Launch(
        argv=("the proof",),
        environment={},
        cwd=ground.workdir,
        confinement=confinement,
        monitor=os.getpid(),
        stdio=(quiet, quiet, quiet),
        instead=lambda: _attempt(probes, form, write_end),
    )
    try:
        pid = launch(what)
        os.close(write_end)
        write_end = -1
        answer = _collect(read_end, form.size)
    finally:
        for descriptor in (read_end, write_end, quiet):
            if descriptor >= 0:
                os.close(descriptor)
    if len(answer) < form.size:
        os.kill(pid, 9)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if len(answer) < form.size:
        raise Refusal(codes.PROOF_FAILED, f"the probes ended with {status} and without an answer")
    return form.unpack(answer)


def _attempt(probes: tuple[Probe, ...], form: struct.Struct, end: int) -> int:
    """In the child: one number for each probe."""
    answers = []
    for probe in probes:
        try:
            probe.attempt()
        except OSError as error:
            answers.append(error.errno or RAISED)
        except Exception:  # noqa: BLE001 - the answer says so, and the judge calls it a surprise
            answers.append(RAISED)
        else:
            answers.append(SUCCEEDED)
    os.write(end, form.pack(*answers))
    return 0


def _collect(read_end: int, size: int) -> bytes:
    end = time.monotonic() + DEADLINE_S
    answer = b""
    while len(answer) < size and (left := end - time.monotonic()) > 0:
        if not select.select([read_end], [], [], left)[0]:
            break
        block = os.read(read_end, size - len(answer))
        if not block:
            break
        answer += block
    return answer


@contextmanager
def _outside(ground: Ground) -> Iterator[str]:
    """A directory that all may write, where the policy reaches nothing; "" where none can be."""
    for place in PLACES:
        if any(inside(place, path) for path in ground.covered):
            continue
        path = os.path.join(place, f"{files.SCRATCH}-{os.getpid()}")
        try:
            os.mkdir(path)
        except OSError:
            continue  # read-only, not ours, or not there: the next one
        try:
            _furnish(path)
            yield path
        finally:
            shutil.rmtree(path)
        return
    yield ""


def _furnish(path: str) -> None:
    inner = os.path.join(path, files.DIRECTORY)
    os.mkdir(inner)
    for name, content in ((files.FILE, "proof"), (files.PROGRAM, "#!/nowhere\n")):
        with open(os.path.join(path, name), "w", encoding="ascii") as file:
            file.write(content)
        os.chmod(os.path.join(path, name), FOR_ALL)
    os.chmod(inner, FOR_ALL)
    os.chmod(path, FOR_ALL)


@contextmanager
def _watch(log: int | None) -> Iterator[socket.socket | None]:
    if log is None:
        yield None
        return
    with socket.socket(fileno=os.dup(log)) as watching:
        watching.setblocking(False)
        _seen(watching)  # what came before is not ours
        yield watching


def _seen(watching: socket.socket | None) -> frozenset[Sight]:
    found: set[Sight] = set()
    while watching is not None and (packets := nflog.receive(watching)):
        found |= {Sight(packet.protocol, packet.destination, packet.port) for packet in packets}
    return frozenset(found)
