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
    "The kernel refused a step of setting the fence up, or an error was met that nobody expected; "
    "nothing was left half done.",
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

NO_NET_ADMIN = Code(
    "fence.no-net-admin",
    "Fencing the pod's network namespace needs CAP_NET_ADMIN once, at start.",
    "Grant CAP_NET_ADMIN to the container that sets the fence up (net-init or the sidecar).",
)
HOST_NAMESPACE = Code(
    "fence.host-namespace",
    "This network namespace looks like a machine's own; fencing it would cut the machine off.",
    "Run inside a container with its own network. If this namespace is meant, say so with "
    "--fence-this-netns.",
)
USERS_COLLIDE = Code(
    "fence.users-collide",
    "The fence tells egress from the workload by user id, so the two must differ and neither "
    "may be root.",
    "Choose another egress user (64998 is the default) or another workload user.",
)
PORTS_INVALID = Code(
    "fence.ports-invalid",
    "The ports that egress is served on must be distinct, unprivileged, and none that a service "
    "mesh uses (15000 to 15090).",
    "Use the defaults 61001, 61053 and 61080.",
)
ADDRESSES_COLLIDE = Code(
    "fence.addresses-collide",
    "An address or route of this network namespace lies in a range that stands for names.",
    "Move the other network; 198.18.0.0/15 is reserved for benchmarks and should be unused.",
)
REDIRECT_COLLIDES = Code(
    "fence.redirect-collides",
    "Another nftables table redirects the workload's packets before our chain could.",
    "Exclude the workload's user from the other redirect (a service mesh), or remove it.",
)
NOT_INSTALLED = Code(
    "fence.not-installed",
    "The pod's network namespace has no fence of ours, so nothing may be started in it.",
    "Run 'net-init' in an init container of the pod, with the same policy and ids.",
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
        NO_NET_ADMIN,
        HOST_NAMESPACE,
        USERS_COLLIDE,
        PORTS_INVALID,
        ADDRESSES_COLLIDE,
        REDIRECT_COLLIDES,
        NOT_INSTALLED,
    )
}
