"""Reason codes of start-up."""

from supervisor.errors import Code

POLICY_MISSING = Code(
    "policy.missing",
    "The policy that was asked for cannot be opened.",
    "Check the path as the container sees it, and the mount that brings it there.",
)
POLICY_UNTRUSTED = Code(
    "policy.untrusted",
    "The policy file could have been written by the image or by somebody else than root.",
    "Mount it read-only from outside, owned by root and not writable by others; "
    "for a policy that is part of the image say --policy-from-image.",
)
POLICY_INVALID = Code(
    "policy.invalid",
    "The policy has findings.",
    "Run 'sandbox-supervisor policy check FILE' and mend what it lists.",
)
LINK_NOT_FOLLOWED = Code(
    "policy.link-not-followed",
    "The policy lists a program by a link that others than root can exchange, so it counts as written.",
    "List the file behind the link.",
)
POLICY_LOADER = Code(
    "policy.loader-failed",
    "The confined child that reads the policy met an error that it did not expect, or ended without "
    "an answer.",
    "A document that needs more memory or time than the loader's limits is the usual reason.",
)
TREE_UNREADABLE = Code(
    "policy.tree-unreadable",
    "The unprivileged child that reads the policy cannot read the supervisor's own files.",
    "Let everybody enter and list the named directory (chmod o+rx): no other user gets into the "
    "container's files either, the workload included.",
)
MODE_NEEDS_UNPRIVILEGED = Code(
    "startup.mode-needs-unprivileged",
    "--mode network-only is for a container that already runs unprivileged.",
    "Set runAsUser, runAsGroup, drop ALL and allowPrivilegeEscalation: false on it. Use 'sidecar' "
    "for the container that enforces the network, or --mode full for one that does everything.",
)
POLICY_FROM_SIDECAR = Code(
    "startup.policy-from-sidecar",
    "With --mode network-only the policy comes from the sidecar, over the control channel.",
    "Name the policy to 'net-init' and 'sidecar', and not to this container.",
)
CAPABILITY_MISSING = Code(
    "startup.capability-missing",
    "The container lacks a capability that this start needs.",
    "Add it to the container, or start the container as the workload's own uid with --cap-drop ALL.",
)
PLAN_LIMIT = Code(
    "startup.limit",
    "A resource limit is above what the container itself has.",
    "Lower it in the policy, or raise the container's own limit.",
)
INTERNAL_ERROR = Code(
    "startup.internal-error",
    "The supervisor met an error that it did not expect, so it ended, and with it whatever it had "
    "started.",
    "Too few descriptors or too little memory in the container are usual reasons; run "
    "'sandbox-supervisor doctor'. If it is neither, report the cause.",
)
SECLUSION_FAILED = Code(
    "startup.seclusion-failed",
    "Making the workload's own process ids and mounts failed in a way that was not foreseen.",
    "Out of memory is the usual reason; run 'sandbox-supervisor doctor'.",
)
ADDRESS_TAKEN = Code(
    "startup.address-taken",
    "The name under which 'report' finds the supervisor is in use.",
    "Look for another supervisor in this very container.",
)
METRICS_SOCKET = Code(
    "startup.metrics-socket",
    "The metrics socket cannot be made where --metrics-socket says, or not safely.",
    "Name a path in an existing directory that is root's and that nobody else may write, all the "
    "way down. Where the supervisor is not root: 'status --probe' needs no socket.",
)
NO_SANDBOX = Code(
    "startup.no-sandbox",
    "No supervisor answers in this container.",
    "Run the command inside the container of a running sandbox (podman exec, kubectl exec), as root "
    "or as the supervisor's own user.",
)
PROOF_FAILED = Code(
    "startup.proof-failed",
    "In the workload's confinement something forbidden succeeded, or something allowed failed.",
    "Report it with the kernel version and the container engine; the cause names the probes.",
)
CONTROL_REQUIRED = Code(
    "startup.control-required",
    "The policy requires a control that this container cannot give.",
    "Give the container what the cause names, or take the control out of 'supervisor: require'.",
)
FENCE_FORM = Code(
    "startup.fence-form",
    "The fence that this container allows is weaker than the policy requires.",
    "Add SYS_ADMIN and NET_ADMIN, allow user namespaces, or lower supervisor.require.fence.",
)
NOT_ENFORCED = Code(
    "startup.not-enforced",
    "The policy relies on something this start does not enforce.",
    "Remove it from the policy, or list the feature that the finding names under 'supervisor: accept'.",
)
HOSTS_TOO_LARGE = Code(
    "startup.file-too-large",
    "A file that the container engine writes (hosts, resolv.conf) is longer than any engine makes it.",
    "Look at who else writes it.",
)
