"""Reason codes of the sidecar pod and its control channel."""

from supervisor.errors import Code

SIDECAR_PRIVILEGES = Code(
    "sidecar.privileges",
    "The sidecar starts neither as uid 0 with its capabilities nor unprivileged as egress' uid.",
    "Give it uid 0 with NET_ADMIN, SYS_PTRACE, KILL, SETUID, SETGID and SETPCAP; or egress' uid "
    "with drop ALL, for a policy that needs no binary identity.",
)
SHARED_DIRECTORY = Code(
    "sidecar.shared-directory",
    "The directory that the pod's containers share cannot be used for the control socket.",
    "Mount an emptyDir there in net-init and sidecar, and read-only in the agent's container.",
)
NO_SIDECAR = Code(
    "sidecar.not-there",
    "The sidecar did not answer in time, so the workload was not started.",
    "Look at the sidecar's and net-init's own end; 'kubectl logs POD -c sidecar' shows their cause.",
)
TOLD_TO_END = Code(
    "sidecar.told-to-end",
    "The agent's half was told to end before the sidecar had answered.",
    "Nothing, if the pod was meant to end.",
)
VERSION_SKEW = Code(
    "sidecar.version-skew",
    "The two halves of the pod come from different releases.",
    "Use the same supervisor image for the sidecar and for what is put into the agent's container.",
)
PROTOCOL_ERROR = Code(
    "sidecar.protocol",
    "The other half of the pod said something that is no message.",
    "Report it: both halves are one release, so this must not happen.",
)
WRONG_PEER = Code(
    "sidecar.wrong-peer",
    "Whoever is at the other end of the control channel is not who it has to be.",
    "Only the agent's process supervisor, as the declared uid and gid, may connect.",
)
NOT_RESUMABLE = Code(
    "sidecar.not-resumable",
    "Processes of an earlier start may still live in the pod, so no new workload is accepted.",
    "Let the pod restart, or share its process namespace so that the sidecar can see them end.",
)
FENCE_OPEN = Code(
    "sidecar.fence-open",
    "A packet that the fence must refuse was let through, so the workload may not run.",
    "Run 'net-init' in this pod, and nothing else that changes nftables.",
)
LOST = Code(
    "sidecar.lost",
    "The sidecar went away and did not come back, so the workload was ended.",
    "Look at the sidecar's end. With --sidecar-loss wait the workload waits longer, offline.",
)
ORDERED = Code(
    "sidecar.ordered",
    "The sidecar had the workload ended; its own log says why.",
    "'kubectl logs POD -c sidecar' shows the cause.",
)
AGENT_NEVER_CAME = Code(
    "sidecar.agent-never-came",
    "No agent container connected in time.",
    "Start it with 'run --mode network-only --shared DIR' as the same uid and gid.",
)
AGENT_LOST = Code(
    "sidecar.agent-lost",
    "The agent's process supervisor ended without saying how its workload did.",
    "Out of memory is the usual reason: look at the agent container's memory limit.",
)
WORKLOAD_HOLDS_PORT = Code(
    "sidecar.workload-holds-port",
    "After a restart a port of ours was taken, so the workload was ended.",
    "Nothing: the pod's restart policy decides whether it starts again.",
)
UNHEARD = Code(
    "sidecar.unheard",
    "A message did not reach the other half of the pod.",
    "Nothing: the end of the connection or its silence says what becomes of it.",
)
