"""The egress process, from the monitor's fork to its end.

It gives up everything it came with before it reads a foreign byte: another uid, no capability, no
file (Landlock without a rule), and a filter with the calls that it needs. What it imports later is
imported before.
"""

import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from supervisor.egress.order_messages import ALIVE, READY, Order, encode
from supervisor.events.event_metrics import EgressMetrics
from supervisor.events.metrics_page import write_page
from supervisor.events.unexpected import fault_of
from supervisor.events.vocabulary import Event, TunnelsClosed
from supervisor.kernel import filters, ids, landlock, prctl, seccomp

if TYPE_CHECKING:
    from policy.host import Address
    from policy.index import Index
    from supervisor.egress.faults import Faults
    from supervisor.egress.resolv_conf import ResolvConf
    from supervisor.egress.server import Descriptors
    from supervisor.egress.upstream_proxy import UpstreamProxy
    from supervisor.events.stream import EventStream

HEARTBEAT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSpec:
    """What egress is started with; it reaches the process through the fork."""

    uid: int | None  # None: the monitor is unprivileged and egress stays what it is
    sockets: dict[str, int]  # by the names of supervisor.fence.request.FencedNamespace
    names: int  # memfd of the synthetic addresses, kept by the monitor for the next egress
    hosts: bytes  # /etc/hosts and /etc/resolv.conf as they were before the workload ran
    resolv_conf: bytes
    has_ipv6: bool
    servers: "ResolvConf | None" = None  # instead of what resolv_conf says
    proxy: "UpstreamProxy | None" = None
    # Where nobody can tell programs apart (decisions 16, 36), an entry is for all of them.
    tells_programs: bool = True
    log_json: bool
    log_level: str = "info"
    log: bool  # write records to stderr, too
    metrics: int | None = None  # page of supervisor.events.metrics_page, kept by the monitor


def serve(
    spec: EgressSpec, *, policy: bytes, owners: int, orders: int, records: int, sequence: int = 0
) -> NoReturn:
    """Be egress: confine, serve, and end with the process. ``policy`` is the wire form as JSON.

    ``sequence`` is the last number of a record that an earlier egress sent.
    """
    status = 1
    faults: Faults | None = None
    stream: EventStream | None = None
    try:
        gc.freeze()  # what the monitor made stays: to look through it would copy its pages
        counted = EgressMetrics()
        stream = record_stream(
            "egress",
            records=socket.socket(fileno=records),
            written=(spec.log_json, spec.log_level) if spec.log else None,
            sequence=sequence,
            observe=counted.observe,
        )
        shed_privileges(spec.uid)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        faults = _hear_faults(stream)
        run = _prepare(spec, policy, (owners, orders), stream, counted)
        confine(filters.egress())
        run()
        status = 0
    except BaseException as error:  # noqa: BLE001 - a forked child must never unwind into the monitor
        if faults is not None:
            faults.tell(error)
        elif stream is not None:
            stream.emit(fault_of("egress", error))
        else:
            sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _hear_faults(stream: "EventStream") -> "Faults":
    from supervisor.egress.faults import Faults

    faults = Faults("egress", stream.emit)
    faults.listen()
    return faults


def shed_privileges(uid: int | None) -> None:
    """In a fork of the monitor: be ``uid``, or stay who we are, and nothing else; no signal blocked."""
    os.setsid()
    if uid is not None:
        ids.setgroups(())
        ids.setresgid(uid)
        prctl.capbset_drop_all()
        prctl.lock_securebits()
        ids.setresuid(uid)
    prctl.clear_ambient()
    prctl.clear_capabilities()
    prctl.set_no_new_privs()
    prctl.set_pdeathsig(signal.SIGKILL)
    prctl.set_undumpable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def confine(program: bytes) -> None:
    """No file, and no system call but those of a filter."""
    if landlock.abi():
        ruleset = landlock.create(landlock.abi()).descriptor
        landlock.restrict_self(ruleset)
        os.close(ruleset)
    seccomp.install(program, all_threads=True)


def _prepare(
    spec: EgressSpec,
    policy: bytes,
    channels: tuple[int, int],
    stream: "EventStream",
    counted: EgressMetrics,
) -> Callable[[], None]:
    """Import, parse and build everything; what is returned runs confined.

    ``channels``: to the monitor, for questions about owners and for orders.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from supervisor.egress.event_records import event_of
    from supervisor.egress.hosts import host_gateway, parse_hosts
    from supervisor.egress.orders import Orders
    from supervisor.egress.resolv_conf import parse_resolv_conf
    from supervisor.egress.server import Egress, Setup, preload
    from supervisor.egress.synthetic import TABLE_SIZE

    preload()
    os.ftruncate(spec.names, TABLE_SIZE)  # no change but for the first egress of a sandbox
    hosts = parse_hosts(spec.hosts)
    compiled = partial(_compile, tells_programs=spec.tells_programs, gateway=host_gateway(hosts))
    setup = Setup(
        index=compiled(policy),
        hosts=hosts,
        resolv_conf=spec.servers or parse_resolv_conf(spec.resolv_conf),
        has_ipv6=spec.has_ipv6,
        proxy=spec.proxy,
    )
    egress = Egress(
        _descriptors(spec, channels[0]), setup, lambda report: stream.emit(event_of(report))
    )
    channel = socket.socket(fileno=channels[1])

    def used(generation: int, ended: int) -> None:
        if ended:
            stream.emit(TunnelsClosed(generation=generation, times=ended))

    def tell_numbers() -> int:
        status = egress.status()
        if spec.metrics is not None:
            write_page(spec.metrics, counted.text(**asdict(status)))
        return status.tunnels

    async def main() -> None:
        with ThreadPoolExecutor(1, "policy") as thread:
            Orders(
                channel,
                read=compiled, use=egress.use_policy, used=used, stop=egress.stop, thread=thread,
            ).attach(asyncio.get_running_loop())  # fmt: skip
            async with asyncio.TaskGroup() as tasks:
                beating = tasks.create_task(_beat(channel, stream, tell_numbers), name="heartbeat")
                await egress.run()
                beating.cancel()

    return lambda: asyncio.run(main())


def _descriptors(spec: EgressSpec, owners: int) -> "Descriptors":
    from supervisor.egress.server import Descriptors

    return Descriptors(
        **{kind: _listening(spec.sockets, kind) for kind in ("capture", "proxy")},
        dns_udp=_listening(spec.sockets, "dns_udp"),
        dns_tcp=_listening(spec.sockets, "dns_tcp"),
        diag=os.dup(spec.sockets["sock_diag"]),
        names=spec.names,
        monitor=owners,
    )


async def _beat(
    channel: socket.socket, stream: "EventStream", tell_numbers: Callable[[], int]
) -> NoReturn:
    """Tell the monitor that we serve, and go on doing so."""
    import asyncio

    channel.send(encode(Order(READY)))
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        stream.tick()
        channel.send(encode(Order(ALIVE, tell_numbers())))


def record_stream(
    source: str,
    *,
    records: socket.socket,
    written: tuple[bool, str] | None,
    sequence: int,
    observe: Callable[[Event], None],
) -> "EventStream":
    """Records to the monitor's memory, and to the container's log.

    ``observe`` sees each before any limit. ``written``: as JSON or not, and the log's level; None where they are not written there.
    """
    from supervisor.events.log import LEAST
    from supervisor.events.sinks import LogSink, SocketSink
    from supervisor.events.stream import EventStream, Sink
    from supervisor.events.text import warm_up

    warm_up()
    to_monitor = SocketSink(records)
    sinks: tuple[Sink, ...] = (to_monitor,)
    if written is not None:
        as_json, level = written
        sinks = (LogSink(2, form="json" if as_json else "text", least=LEAST[level]), to_monitor)
    return EventStream(
        source=source,
        hostname=os.uname().nodename,
        sinks=sinks,
        observe=observe,
        sequence=sequence,
    )


def _listening(sockets: dict[str, int], kind: str) -> tuple[int, ...]:
    # Duplicated: egress closes what it was given, the monitor's own must live on in every fork.
    return tuple(os.dup(sockets[name]) for name in (f"{kind}4", f"{kind}6") if name in sockets)


def _compile(whole: bytes, *, tells_programs: bool, gateway: "Address | None") -> "Index":
    """What supervisor.startup.policy put together."""
    from policy.index import CallerMode, compile_policy
    from policy.wire import from_wire

    mode: CallerMode = "identified" if tells_programs else "any"
    document = json.loads(whole)
    return compile_policy(
        from_wire(document["policy"]), mode=mode, links=document["links"], gateway=gateway
    )
