"""From an event to its record: a plain JSON object in the shape of OCSF 1.8.0. Pure.

Classes used: Network Activity 4001, HTTP Activity 4002, DNS Activity 4003, Detection Finding 2004,
Device Config State Change 5019, Process Activity 1007, Application Lifecycle 6002, Application
Error 6008. What OCSF has no place for is under ``unmapped``. ``metadata.event_code`` is our own,
stable name of the event.

Source: https://schema.ocsf.io/1.8.0
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from supervisor.events import record_network as network
from supervisor.events import record_supervisor as own
from supervisor.events import vocabulary as v
from supervisor.events.record_parts import OTHER, SUCCESS, Body, Json

OCSF_VERSION = "1.8.0"
PRODUCT = {"name": "sandbox-supervisor", "vendor_name": "sandbox-supervisor"}
SEVERITIES = ("Unknown", "Informational", "Low", "Medium", "High", "Critical")


class Stamp(NamedTuple):
    """Who says it, as which number, when (milliseconds since the epoch), on which host."""

    source: str
    sequence: int
    time_ms: int
    hostname: str


def record_of(event: v.Event, stamp: Stamp) -> Json:
    """The record of an event: JSON values only, every text bounded."""
    body = _BUILDERS[type(event)](event)
    kind, (activity_id, activity), severity = body.kind, body.activity, body.severity
    return {
        "time": stamp.time_ms,
        "class_uid": kind.uid,
        "class_name": kind.name,
        "category_uid": kind.category_uid,
        "category_name": kind.category,
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": kind.uid * 100 + activity_id,
        "severity_id": int(severity),
        "severity": SEVERITIES[severity],
        "status_id": body.status,
        "status": "Success" if body.status == SUCCESS else "Failure",
        "message": body.message,
        "metadata": {
            "version": OCSF_VERSION,
            "product": PRODUCT,
            "log_provider": stamp.source,
            "sequence": stamp.sequence,
            "event_code": body.code,
        },
        "device": {"type_id": OTHER, "type": "Container", "hostname": stamp.hostname},
        **body.fields,
        "unmapped": body.unmapped,
    }


_BUILDERS: dict[type, Callable[[Any], Body]] = {
    v.ConnectionOpened: network.opened,
    v.ConnectionClosed: network.closed,
    v.ConnectionRefused: network.refused,
    v.ConnectionShed: network.shed,
    v.HttpRequest: network.request,
    v.DnsRefused: network.dns,
    v.AttemptBlocked: network.blocked,
    v.PolicyLoaded: own.loaded,
    v.PolicyRejected: own.rejected,
    v.PolicyNeedsRestart: own.needs_restart,
    v.TunnelsClosed: own.tunnels,
    v.UpstreamChosen: own.upstream,
    v.HelperReady: own.ready,
    v.HelperRestarted: own.restarted,
    v.HelperDied: own.died,
    v.HelperFault: own.helper_fault,
    v.HelperGaveUp: own.gave_up,
    v.StartStep: own.step,
    v.StartRefused: own.start_refused,
    v.SandboxStarted: own.started,
    v.SandboxEnded: own.sandbox_ended,
    v.FenceInstalled: own.fence_installed,
    v.SidecarStarted: own.sidecar_started,
    v.SidecarEnded: own.sidecar_ended,
    v.PodMessage: own.pod_message,
    v.Fault: own.fault,
    v.Drift: own.drift,
    v.Finding: own.finding,
    v.DenialsSummed: network.summed,
    v.RecordsDropped: own.dropped,
}
