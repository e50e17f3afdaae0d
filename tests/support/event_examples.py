"""One example of each event, with the stamp it gets: for the golden table and the tests."""

from supervisor.events.blocked import attempt
from supervisor.events.record import Stamp
from supervisor.events.vocabulary import (
    Actor,
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    ConnectionShed,
    DenialsSummed,
    DnsRefused,
    Drift,
    Endpoint,
    Event,
    Fault,
    FenceInstalled,
    Finding,
    HelperDied,
    HelperFault,
    HelperGaveUp,
    HelperReady,
    HelperRestarted,
    HttpRequest,
    Lane,
    PodMessage,
    PolicyLoaded,
    PolicyNeedsRestart,
    PolicyRejected,
    RecordsDropped,
    Rule,
    SandboxEnded,
    SandboxStarted,
    Severity,
    SidecarEnded,
    SidecarStarted,
    StartRefused,
    StartStep,
    TunnelsClosed,
    UpstreamChosen,
    Verdict,
    Why,
)

START_MS = 1_767_225_600_123  # 2026-01-01T00:00:00.123Z
CURL = Actor(pid=812, binary="/usr/bin/curl", ancestors=("/usr/bin/bash", "/usr/bin/node"))
CLIENT = Endpoint(ip="10.0.2.15", port=40112)
PYPI = Endpoint(host="pypi.example", port=443)
EVIL = Endpoint(host="exfil.example", port=443)
RULE = Rule(entry="python-index", at="policy.yaml:14:3")
ALLOWED = Why(code="network.allowed")
NO_RULE = Why(
    code="network.no-rule",
    cause="no entry of the policy names exfil.example",
    remedy="Add an endpoint for the host, if the workload should reach it.",
)

EXAMPLES: tuple[Event, ...] = (
    ConnectionOpened(
        actors=(CURL,), source=CLIENT, destination=PYPI, why=ALLOWED, rule=RULE, request_id="5f3a-1"
    ),
    ConnectionClosed(
        actors=(CURL,),
        source=CLIENT,
        destination=PYPI,
        how="closed",
        bytes_up=1200,
        bytes_down=54321,
        seconds=1.25,
        rule=RULE,
        request_id="5f3a-1",
    ),
    ConnectionRefused(
        actors=(CURL, Actor(pid=813, binary="/usr/bin/python3.11")),
        source=CLIENT,
        destination=EVIL,
        why=NO_RULE,
        request_id="5f3a-2",
    ),
    ConnectionShed(limit="connections", value=4096),
    HttpRequest(
        actors=(CURL,),
        source=CLIENT,
        destination=Endpoint(host="user:secret@mirror.example", port=80),
        method="GET",
        path="/debian/dists/stable/InRelease?token=secret",
        verdict=Verdict.ALLOW,
        status=200,
        why=ALLOWED,
        rule=RULE,
        bytes_up=310,
        bytes_down=140211,
        request_id="5f3a-3",
    ),
    HttpRequest(
        actors=(CURL,),
        source=CLIENT,
        destination=Endpoint(host="mirror.example", port=80),
        method="DELETE",
        path="/debian/pool",
        verdict=Verdict.DENY,
        status=403,
        why=Why(
            code="http.method", cause="DELETE is not in the rule", remedy="Allow it in 'rules'."
        ),
        rule=RULE,
        request_id="5f3a-4",
    ),
    DnsRefused(name="x8d2.exfil.example", kind="TXT", why=NO_RULE),
    attempt(uid=1000, gid=1000, protocol=17, destination="198.51.100.7", port=443),
    attempt(uid=None, gid=None, protocol=58, destination="2001:db8::7", port=None),
    DenialsSummed(
        host="exfil.example",
        port=443,
        binary="/usr/bin/curl",
        times=41,
        total=60,
        first=1_767_225_600.0,
        last=1_767_225_609.5,
        why=NO_RULE,
    ),
    PolicyLoaded(generation=2),
    PolicyRejected(
        generation=3,
        why=Why(
            code="policy.invalid",
            cause="policy.yaml:9:5: unknown field 'hots'",
            remedy="Run 'sandbox-supervisor policy check'.",
        ),
    ),
    PolicyNeedsRestart(sections=("filesystem",)),
    TunnelsClosed(generation=2, times=3),
    UpstreamChosen(
        resolvers=("10.0.2.3",),
        proxy="http://proxy.example:3128",
        asked_for="checked addresses",
        has_credentials=True,
    ),
    HelperReady(helper="egress", pid=27),
    HelperFault(
        helper="egress",
        pid=27,
        why=Why(
            code="monitor.helper-silent",
            cause="A helper said nothing for so long that it hangs.",
            remedy="A stopped process is a usual reason.",
        ),
    ),
    HelperDied(helper="egress", pid=27, status=-9, restart_s=0.5),
    HelperRestarted(helper="egress", pid=41, times=1),
    HelperGaveUp(
        helper="egress",
        status=1,
        why=Why(
            code="monitor.egress-crash-loop",
            cause="ended 5 times within a minute",
            remedy="Look at the events before this one.",
        ),
    ),
    StartStep(step="CloseNetwork", what="make the network namespace, with nothing but lo"),
    StartRefused(
        status=125,
        why=Why(
            code="policy.missing",
            cause="/policy/policy.yaml: No such file or directory",
            remedy="Check the path as the container sees it.",
        ),
    ),
    SandboxStarted(
        pid=12, user="sandbox", uid=1000, gid=1000, report={"version": 1, "identity": {"uid": 1000}}
    ),
    SandboxEnded(pid=12, status=0),
    FenceInstalled(rules=31, ipv6=True, table_owned=True),
    SidecarStarted(pid=1, is_degraded=False, report={"uid": 0, "absent": []}),
    SidecarEnded(pid=1, status=0),
    PodMessage(name="agent.attached", pid=44, uid=1000),
    Fault(
        process="egress",
        kind="ZeroDivisionError",
        why=Why(
            code="process.internal-error",
            cause="ZeroDivisionError: division by zero",
            remedy="Report the record.",
        ),
        trace=("supervisor/egress/server.py:97 run", "supervisor/egress/relay.py:12 sweep"),
    ),
    Drift(
        control="network",
        why=Why(
            code="monitor.fence-changed",
            cause="the table sandbox was changed",
            remedy="Nothing beside the supervisor may change nftables here.",
        ),
    ),
    Finding(
        title="the policy file never updates",
        severity=Severity.LOW,
        why=Why(
            code="policy.subpath",
            cause="mounted with subPath",
            remedy="Mount the directory.",
        ),
    ),
    RecordsDropped(
        first=120, last=1620, lanes=((Lane.ALLOWED, 1500), (Lane.BLOCKED, 1)), denials_forgotten=0
    ),
)


def stamp(sequence: int) -> Stamp:
    """The stamp of the example with this number, from 1."""
    return Stamp("egress", sequence, START_MS + sequence, "pod-1")
