"""Reason codes of launching and supervising."""

from supervisor.errors import Code

SETUP_FAILED = Code(
    "launch.setup-failed",
    "A step between fork and exec failed, so the workload was not started.",
    "The cause names the step and what the kernel said; 'doctor' shows what this container lacks.",
)
READ_BACK = Code(
    "launch.read-back",
    "After dropping privileges the kernel reports something else than was asked for.",
    "Start the container with exactly the capabilities README lists, or with --cap-drop ALL.",
)
ROOT_REGAINED = Code(
    "launch.root-regained",
    "After dropping privileges the process could become root again.",
    "This must never happen: report it with the kernel version and the container engine.",
)
NOT_EXECUTABLE = Code(
    "launch.not-executable",
    "The command exists but cannot be executed by the workload's identity.",
    "Check its mode, its interpreter line and that its file system is not mounted noexec.",
)
NOT_FOUND = Code(
    "launch.not-found",
    "The command, or the interpreter it names, does not exist for the workload.",
    "Check the spelling, the image, and PATH as the workload sees it.",
)
TIMED_OUT = Code(
    "launch.timed-out",
    "The child did not reach its exec in time.",
    "A hanging file system below the command or the workdir is the usual reason.",
)
DIED = Code(
    "launch.died",
    "The child died before its exec without saying why.",
    "Out of memory is the usual reason: look at the container's memory limit.",
)
NOT_MAIN_PROCESS = Code(
    "monitor.not-main-process",
    "The supervisor is not the container's main process, so its end would not end the workload.",
    "Make it the container's entrypoint, without an init in front (podman run without --init).",
)
WORKLOAD_TIMEOUT = Code(
    "monitor.timeout",
    "The workload ran longer than --timeout allows and was ended.",
    "Raise --timeout, or look at what the workload was waiting for.",
)
KILLED = Code(
    "monitor.killed",
    "The workload did not end within the grace period after TERM and was killed.",
    "Let the workload handle TERM, or raise --grace.",
)
SURVIVORS = Code(
    "monitor.survivors",
    "Processes of the workload could not be ended in time.",
    "They are in uninterruptible sleep, usually on a hanging file system; the container's end ends them.",
)
EGRESS_CRASH_LOOP = Code(
    "monitor.egress-crash-loop",
    "Egress ended again and again within a minute, so the workload was ended.",
    "The events before this one hold its last words; the container's memory limit is a usual reason.",
)
WATCHER_CRASH_LOOP = Code(
    "monitor.watcher-crash-loop",
    "The watcher that reports blocked attempts ended again and again, so the workload was ended.",
    "The events before this one hold its last words; the container's memory limit is a usual reason.",
)
RESPONDER_CRASH_LOOP = Code(
    "monitor.responder-crash-loop",
    "The process that answers on the metrics socket ended again and again, so the workload was ended.",
    "The events before this one hold its last words; the container's memory limit is a usual reason.",
)
INTERNAL_ERROR = Code(
    "monitor.internal-error",
    "The monitor met an error that it did not expect, so the workload was ended.",
    "The event before this one says which; too few descriptors or too little memory in the container "
    "are usual reasons.",
)
HELPER_FAILED = Code(
    "monitor.helper-failed",
    "A helper met an error that it did not expect and ended; another one takes its place.",
    "The cause is its own; too few descriptors or too little memory in the container are usual "
    "reasons. If it is neither, report it.",
)
FENCE_CHANGED = Code(
    "monitor.fence-changed",
    "Somebody changed the rules of the fence while the workload ran, so the workload was ended.",
    "Nothing beside the supervisor may change nftables in this network namespace.",
)
HELPER_SILENT = Code(
    "monitor.helper-silent",
    "A helper said nothing for so long that it hangs; it is ended and another one takes its place.",
    "A stopped process, a machine out of memory or a disk that does not answer are usual reasons.",
)
HELPER_PROTOCOL = Code(
    "monitor.helper-protocol",
    "A helper said something that none of ours says; it is ended and another one takes its place.",
    "This must never happen: report it, with the events before this one.",
)
HELPER_UNREACHABLE = Code(
    "monitor.helper-unreachable",
    "A helper did not take an answer that it asked for.",
    "It gives the question up by itself; if this repeats, look at the machine's load.",
)
POLICY_NOT_TAKEN = Code(
    "policy.not-taken",
    "Egress could not use a new policy, so the one before it stays in force.",
    "The cause is its own; a policy that 'policy check' accepts is taken unless memory is short.",
)
