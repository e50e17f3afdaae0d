"""Reason codes of ``identity.*``."""

from supervisor.errors import Code

BAD_ID = Code(
    "identity.bad-id",
    "The text is neither a number in its one canonical form nor the name of an account.",
    "Write plain ASCII digits without sign, space, leading zero or exponent (1000), or a name "
    "from the container's account files (letters, digits, '_', '-', '.').",
)
OUT_OF_RANGE = Code(
    "identity.out-of-range",
    "The number is no user or group id: 4294967295 means 'unchanged' to the kernel.",
    "Use an id from 1 to 4294967294.",
)
ROOT = Code(
    "identity.root",
    "The workload would hold user or group 0, as a number, as a name or by membership.",
    "Choose an unprivileged user and group, for example --uid 1000 --gid 1000.",
)
HALF_PAIR = Code(
    "identity.half-pair",
    "Only one of user and group was given, and the other one is never guessed.",
    "Give both, in the same place.",
)
CONFLICT = Code(
    "identity.conflict",
    "Two inputs name different identities.",
    "Remove one of the two, or make them say the same.",
)
NONE_GIVEN = Code(
    "identity.none-given",
    "Nothing says who the workload shall be, and root is never the answer.",
    "Pass --uid 1000 --gid 1000 (any free ids), or set SANDBOX_UID and SANDBOX_GID, or let the "
    "image's account files hold an account named 'sandbox'.",
)
UNKNOWN_ACCOUNT = Code(
    "identity.unknown-account",
    "The account files of the container have no such user or group.",
    "Add the account to the image, or give its number.",
)
AMBIGUOUS_ACCOUNT = Code(
    "identity.ambiguous-account",
    "More than one entry of an account file answers the question.",
    "Remove the duplicate from the image's account files.",
)
UNUSABLE_ACCOUNT = Code(
    "identity.unusable-account",
    "The account's home or shell is not an absolute path of printable characters.",
    "Correct the account in the image, or give its number: then home is /sandbox.",
)
NO_PRIMARY_GROUP = Code(
    "identity.no-primary-group",
    "A numeric user was given without a group, and no account entry tells its primary group.",
    "Give the group, too.",
)
TOO_MANY_GROUPS = Code(
    "identity.too-many-groups",
    "The list of supplementary groups is longer than any real one.",
    "Shorten the list.",
)
RESERVED_ID = Code(
    "identity.reserved-id",
    "The workload would share a user or group id with a helper of the supervisor: what is allowed "
    "to the helper would be allowed to the workload.",
    "Choose another id for the workload, or for the helper on the command line.",
)
NOT_MAPPED = Code(
    "identity.not-mapped",
    "The container's user namespace has no such id, so that the kernel would refuse to switch.",
    "Choose an id that is mapped, or widen the mapping (podman: --uidmap, --gidmap, subuid(5)).",
)
PROCESS_DIFFERS = Code(
    "identity.process-differs",
    "The container already runs unprivileged, as somebody else than the inputs say.",
    "Start the container with the wanted ids (--user, runAsUser and runAsGroup), or as root, or "
    "remove the inputs.",
)
PROCESS_GROUPS = Code(
    "identity.process-groups",
    "The container already runs unprivileged, and its supplementary groups, which only root could "
    "change, are not the declared ones.",
    "Declare them (--groups), or start the container without them.",
)
MIXED_PROCESS_IDS = Code(
    "identity.mixed-process-ids",
    "Real, effective and saved ids of the supervisor differ: it was started through a setuid file.",
    "Start the supervisor directly.",
)
FILE_MISSING = Code(
    "identity.file-missing",
    "The account file that the decision needs does not exist.",
    "Add the file to the image, or give numbers: they need no account file.",
)
FILE_UNREADABLE = Code(
    "identity.file-unreadable",
    "The account file cannot be opened or read.",
    "See the cause; numbers need no account file.",
)
FILE_LINK = Code(
    "identity.file-link",
    "The account file, or a directory above it, is a symbolic link; links are never followed.",
    "Put the file itself into its place, or give numbers: they need no account file.",
)
FILE_NOT_REGULAR = Code(
    "identity.file-not-regular",
    "The account file is a directory, a device, a pipe or a socket.",
    "Put a regular file into its place, or give numbers: they need no account file.",
)
FILE_UNTRUSTED = Code(
    "identity.file-untrusted",
    "Others than root own the account file or can write it, so that an earlier workload could have "
    "chosen the answer.",
    "Make it owned by root and not writable by others, or give numbers.",
)
FILE_TOO_LARGE = Code(
    "identity.file-too-large",
    "The account file, a line of it or a field exceeds its limit.",
    "Shorten the file, or give numbers: they need no account file.",
)
FILE_MALFORMED = Code(
    "identity.file-malformed",
    "A line of the account file is not what passwd(5), group(5), shadow(5) or gshadow(5) say.",
    "Correct the line, or give numbers: they need no account file.",
)
FILE_CHANGED = Code(
    "identity.file-changed",
    "The account file changed between reading and writing.",
    "Find out who else writes to the root file system, then start again.",
)
WRITE_FAILED = Code(
    "identity.write-failed",
    "The account file could not be replaced; the old one is untouched.",
    "See the cause: a full or failing file system, usually.",
)
COLLISION = Code(
    "identity.collision",
    "The name or the number already belongs to another account; nothing was written.",
    "Choose another name or number, or remove the other account.",
)
NOT_A_ROOT = Code(
    "identity.not-a-root",
    "ROOT is not a directory that can be opened.",
    "Name the directory into which the root file system was unpacked.",
)
