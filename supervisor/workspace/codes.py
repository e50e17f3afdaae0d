"""Why the workspace was refused."""

from supervisor.errors import Code

NOT_CANONICAL = Code(
    "workspace.path-not-canonical",
    "A path is relative, or holds '.', '..', a doubled slash or a NUL byte, or is too long.",
    "Write the absolute path in its shortest form.",
)
PROTECTED = Code(
    "workspace.path-protected",
    "The path belongs to the system or to the supervisor and is never given to a workload.",
    "Choose a directory of the workload's own, /sandbox for example.",
)
SYMLINK = Code(
    "workspace.symlink",
    "A component of the path is a symbolic link that is not followed.",
    "Name the real directory. A policy path may pass a link only where root owns the link, its "
    "directory and its target, and nobody else can write there.",
)
NOT_A_DIRECTORY = Code(
    "workspace.not-a-directory",
    "A component of the path exists and is not a directory.",
    "Remove what stands there or name another path.",
)
NOT_TRAVERSABLE = Code(
    "workspace.not-traversable",
    "The workload's identity may not pass through a directory above the workspace.",
    "Give the directory the x bit for that identity (chmod o+x), or choose another workspace.",
)
NOT_WRITABLE = Code(
    "workspace.not-writable",
    "The working directory that the image names cannot be written by the workload's identity.",
    "Make it writable in the image for that user or one of its groups, or pass --workdir.",
)
MISSING = Code(
    "workspace.missing",
    "The working directory that the image names does not exist.",
    "Create it in the image, or pass --workdir, which is created when missing.",
)
CANNOT_CREATE = Code(
    "workspace.cannot-create",
    "A missing directory could not be created.",
    "Create it in the image or mount a volume there.",
)
CHOWN_CAPABILITY = Code(
    "workspace.needs-cap-chown",
    "A path is not the workload's yet, and the supervisor lacks CAP_CHOWN to make it so.",
    "Add CHOWN to the container's capabilities, or prepare the path's owner beforehand.",
)
CHOWN_REFUSED = Code(
    "workspace.chown-refused",
    "The file system refused to change an owner although CAP_CHOWN is held.",
    "Look for the immutable attribute (lsattr), an id outside the user namespace's map, or a "
    "network file system that squashes root.",
)
MODE_REFUSED = Code(
    "workspace.mode-refused",
    "Permission bits of a path could not be changed.",
    "Add FOWNER to the container's capabilities, or set the mode beforehand.",
)
READ_ONLY = Code(
    "workspace.read-only",
    "The workspace lies on a read-only mount and is not the workload's.",
    "Mount a writable volume there, or prepare the owner beforehand.",
)
UNREADABLE = Code(
    "workspace.unreadable",
    "A directory of the workspace could not be read.",
    "Add DAC_READ_SEARCH (or DAC_OVERRIDE) to the container's capabilities, or open the "
    "directory's mode.",
)
CHANGED_UNDERFOOT = Code(
    "workspace.changed-underfoot",
    "Somebody moved or replaced a directory while it was being prepared.",
    "Stop whatever else writes to this volume, then start again.",
)
TOO_MANY_DIRECTORIES = Code(
    "workspace.too-many-directories",
    "More directories wait to be visited than the supervisor is willing to remember.",
    "Prepare the volume's owner beforehand (Kubernetes: fsGroup, or an init container).",
)
DEADLINE = Code(
    "workspace.deadline",
    "Preparing the workspace took longer than allowed; what was done so far stays done.",
    "Start again (finished entries are skipped), allow more time, or prepare the volume's owner "
    "beforehand.",
)
WORKER_DIED = Code(
    "workspace.worker-died",
    "A helper process of the preparation met an error that it did not expect, or ended without an "
    "answer.",
    "The cause names the error; if it does not, look for the out-of-memory killer in the kernel log. "
    "Then start again.",
)
IDENTITY_NOT_ASSUMED = Code(
    "workspace.identity-not-assumed",
    "The child that validates the workspace could not become the workload's identity.",
    "Add SETUID and SETGID to the container's capabilities, or start as that identity.",
)
SYSTEM_ERROR = Code(
    "workspace.system-error",
    "The kernel reported an error that has no code of its own here.",
    "The cause names the call and the path; look at the volume behind it.",
)


def by_name(name: str) -> Code:
    """Return the code called ``name``; KeyError if this room declares none such."""
    return {code.name: code for code in globals().values() if isinstance(code, Code)}[name]
