"""``net-init``: fence the pod's network namespace, prepare the shared directory, leave."""

from supervisor.events.log import Log
from supervisor.events.vocabulary import FenceInstalled
from supervisor.fence.setup import install_pod_fence
from supervisor.sidecar.directory import prepare
from supervisor.startup.pod import PodSettings, fence_request, load_policy
from supervisor.startup.telling import told


def net_init(settings: PodSettings) -> int:
    """Do it; 0, or 125 with the cause in the log. Whatever goes wrong, nothing is half open."""
    log = Log(format=settings.log_format, level=settings.log_level)
    return told(lambda: _net_init(settings, log), log)


def _net_init(settings: PodSettings, log: Log) -> int:
    policy = load_policy(settings)
    prepare(settings.shared, sidecar_uid=settings.egress_uid)
    # Last: a fence without a sidecar is closed, and so is a pod whose init container failed.
    report = install_pod_fence(fence_request(settings, policy.static)).report
    installed = FenceInstalled(rules=report.rules, ipv6=report.ipv6, table_owned=report.table_owned)
    log.emit(installed)
    log.finish()
    return 0
