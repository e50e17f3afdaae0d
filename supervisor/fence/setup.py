"""Make the workload's network namespace, or fence the pod's, in a short-lived forked child.

The child imports what is heavy (the netlink codec), makes the namespace, fills it, reads it back
and passes descriptors to its parent; then it ends, and with it all that it imported. The parent
(the monitor) only forks, writes the id maps of a user namespace, and waits with a bound.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

from supervisor.errors import Refusal, in_short
from supervisor.fence import channel, codes
from supervisor.fence.request import (
    FencedNamespace,
    FencedPod,
    FenceReport,
    Form,
    PodReport,
    PodRequest,
    Served,
)
from supervisor.fence.surroundings import (
    CAP_SETFCAP,
    effective_capabilities,
    may_map_all_ids,
)
from supervisor.kernel.namespaces import IdRange, deny_setgroups, read_id_map, write_id_map

# A tenth of a second on an idle machine; twenty seconds is one that cannot run a workload either.
SETUP_TIMEOUT_S = 20.0

MAP_IDS = "map-ids"
MAPPED = "mapped"
DONE = "done"
REFUSED = "refused"
YES, NO = "yes", "no"


def create_namespace(served: Served | None) -> FencedNamespace:
    """A closed network namespace for the workload; with ``served``, egress' listeners in it.

    The strongest way that is possible: CAP_SYS_ADMIN and CAP_NET_ADMIN; a user namespace, which
    needs no capability; the container's own namespace if it has no interface but ``lo`` and
    nothing is to be served. Raises Refusal; nothing is left behind then.
    """

    def work(end: socket.socket, deadline: float) -> None:
        from supervisor.fence.construction import construct  # in the child alone: it is heavy

        construct(end, deadline, served)

    facts, named = run_child(work)
    form, user_namespace, ipv6, rules, table_owned = facts
    report = FenceReport(
        form=cast("Form", form),
        user_namespace=user_namespace == YES,
        ipv6=ipv6 == YES,
        rules=int(rules),
        table_owned=table_owned == YES,
    )
    return FencedNamespace(
        net=named.pop("net"), user=named.pop("user", None), sockets=named, report=report
    )


def install_pod_fence(request: PodRequest) -> FencedPod:
    """Fence the network namespace that we are in, once, and open egress' listeners in it.

    Needs CAP_NET_ADMIN, which may be dropped afterwards: the sockets keep working. Replaces our
    fence of an earlier start. Raises Refusal; what stands then is either what stood before or
    the whole fence, never a part of it.
    """

    def work(end: socket.socket, _deadline: float) -> None:
        from supervisor.fence.pod_construction import construct

        construct(end, request)

    return _fenced_pod(*run_child(work))


def adopt_pod_fence(request: PodRequest) -> FencedPod:
    """Take over the fence that ``install_pod_fence`` with the same request left here.

    It is read back and compared, not replaced: what the workload bound since must not count as
    bound by others. Needs CAP_NET_ADMIN, which may be dropped afterwards. Raises Refusal.
    """

    def work(end: socket.socket, _deadline: float) -> None:
        from supervisor.fence.pod_adoption import adopt

        adopt(end, request)

    return _fenced_pod(*run_child(work))


def serve_pod(served: Served) -> tuple[dict[str, int], bool]:
    """Egress' sockets in a pod that others fenced, and whether there is IPv6; needs no capability.

    Whether there is a fence cannot be seen without CAP_NET_ADMIN. Raises Refusal.
    """

    def work(end: socket.socket, _deadline: float) -> None:
        from supervisor.fence.pod_adoption import serve

        serve(end, served)

    facts, named = run_child(work)
    return named, facts == [YES]


def _fenced_pod(facts: list[str], named: dict[str, int]) -> FencedPod:
    ipv6, rules, table_owned, closed_tcp, closed_udp, other_tables = facts
    report = PodReport(
        ipv6=ipv6 == YES,
        rules=int(rules),
        table_owned=table_owned == YES,
        closed_tcp=tuple(int(port) for port in closed_tcp.split()),
        closed_udp=tuple(int(port) for port in closed_udp.split()),
        other_tables=tuple(other_tables.split()),
    )
    return FencedPod(sockets=named, report=report)


def run_child(work: Callable[[socket.socket, float], None]) -> tuple[list[str], dict[str, int]]:
    """Fork, let ``work`` set a fence up and report over its socket; the facts and descriptors
    that it gave to ``report_done``.

    Raises Refusal: the child's own, or ours when it failed without one or took too long.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    deadline = time.monotonic() + SETUP_TIMEOUT_S
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be_child(theirs, deadline, work)
    theirs.close()
    try:
        with ours:
            return _converse(ours, pid, deadline)
    except TimeoutError as error:
        raise Refusal(codes.SETUP_TIMED_OUT, f"no result within {SETUP_TIMEOUT_S} s") from error
    finally:
        # After a result or a refusal it is ending anyway; otherwise it has to.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _be_child(
    end: socket.socket, deadline: float, work: Callable[[socket.socket, float], None]
) -> NoReturn:
    try:
        work(end, deadline)
    except Refusal as refusal:
        channel.send(end, [REFUSED, refusal.code.name, refusal.cause, refusal.remedy])
    except BaseException as error:  # noqa: BLE001 - the last frame of a forked child: nothing above may run
        failed = codes.SETUP_FAILED
        channel.send(end, [REFUSED, failed.name, in_short(error), failed.remedy])
    finally:
        os._exit(0)


def _converse(end: socket.socket, pid: int, deadline: float) -> tuple[list[str], dict[str, int]]:
    while True:
        message = channel.receive(end, deadline)
        match message:
            case None:
                raise Refusal(codes.SETUP_FAILED, "the set-up helper ended without a result")
            case ([str(word)], []) if word == MAP_IDS:
                _map_ids(pid)
                channel.send(end, [MAPPED])
            case ([str(word), name, cause, remedy], []) if word == REFUSED:
                raise Refusal(codes.BY_NAME[name], cause, remedy)
            case ([str(word), count, *words], descriptors) if word == DONE:
                names = words[int(count) :]
                return words[: int(count)], dict(zip(names, descriptors, strict=True))
            case _:
                raise AssertionError(f"the set-up helper said {message}")


def _map_ids(pid: int) -> None:
    """Give the child's user namespace all ids that we have; else (ordinary user) only our own."""
    capabilities = effective_capabilities()
    try:
        if may_map_all_ids(capabilities):
            uids, gids = identity_maps("uid"), identity_maps("gid")
            if CAP_SETFCAP not in capabilities:  # user_namespaces(7): needed to map uid 0
                uids = without_zero(uids)
        else:
            deny_setgroups(pid)
            uids = (IdRange(os.geteuid(), os.geteuid(), 1),)
            gids = (IdRange(os.getegid(), os.getegid(), 1),)
        write_id_map("uid", pid, uids)
        write_id_map("gid", pid, gids)
    except OSError as error:
        raise Refusal(codes.IDS_NOT_MAPPED, str(error)) from error


def identity_maps(kind: str) -> tuple[IdRange, ...]:
    """Every id of our own namespace, under the same number."""
    return tuple(IdRange(line.inside, line.inside, line.size) for line in read_id_map(kind))


def without_zero(ranges: tuple[IdRange, ...]) -> tuple[IdRange, ...]:
    """The same ranges without id 0."""
    trimmed = [IdRange(1, 1, line.size - 1) if line.inside == 0 else line for line in ranges]
    return tuple(line for line in trimmed if line.size)


def report_done(end: socket.socket, facts: Sequence[str], named: dict[str, int]) -> None:
    """In the child: hand facts and descriptors to the parent."""
    channel.send(end, [DONE, str(len(facts)), *facts, *named], list(named.values()))


def yes_or_no(fact: object) -> str:
    """A fact as a word, for ``report_done``."""
    return YES if fact else NO
