"""Why a fence was refused."""

from supervisor.errors import Code

NOT_POSSIBLE = Code(
    "fence.not-possible",
    "No form of the fence is possible here, so the workload's network cannot be closed.",
    "Allow user namespaces (podman's default seccomp profile does), or grant CAP_SYS_ADMIN and "
    "CAP_NET_ADMIN to the container, or start it with '--network none'.",
)
SETUP_FAILED = Code(
    "fence.setup-failed",
    "The kernel refused a step of setting the fence up; nothing was left half done.",
    "Run 'sandbox-supervisor doctor' for what this kernel and container allow.",
)
SETUP_TIMED_OUT = Code(
    "fence.setup-timed-out",
    "Setting the fence up did not finish in time and was ended.",
    "Check whether the machine is overloaded; run 'sandbox-supervisor doctor'.",
)
IDS_NOT_MAPPED = Code(
    "fence.ids-not-mapped",
    "The user namespace for the workload's network could not be given its user and group ids.",
    "Keep CAP_SETUID and CAP_SETGID in the container, or start it as the workload's own user.",
)
READ_BACK_DIFFERS = Code(
    "fence.read-back-differs",
    "The kernel holds other rules than it was asked for.",
    "Look for another program that changes nftables in this network namespace.",
)
PORT_TAKEN = Code(
    "fence.port-taken",
    "A port that the fence needs is in use in the workload's network namespace.",
    "Choose other ports, or end the program that holds it.",
)

# For the set-up helper, which can only send the name of a code to its parent.
BY_NAME = {
    code.name: code
    for code in (
        NOT_POSSIBLE,
        SETUP_FAILED,
        SETUP_TIMED_OUT,
        IDS_NOT_MAPPED,
        READ_BACK_DIFFERS,
        PORT_TAKEN,
    )
}
