"""Reason codes of the confinement of files."""

from supervisor.errors import Code

LANDLOCK_MISSING = Code(
    "startup.landlock-missing",
    "The kernel cannot confine files as the policy asks.",
    "Use a kernel with Landlock ABI 3 (Linux 6.2) and 'landlock' in its list of LSMs, or state "
    "'landlock: {compatibility: best_effort}' and read in the report what is lost.",
)
PATHS_UNUSABLE = Code(
    "startup.paths-unusable",
    "Paths of the policy cannot be opened, so the policy would not mean what it says.",
    "Create them in the image or mount them, or take them out of the policy; "
    "'landlock: {compatibility: best_effort}' leaves them out and lists them.",
)
PATHS_OVERLAP = Code(
    "startup.paths-overlap",
    "A path that is to be read-only lies inside one that is writable.",
    "Landlock only adds rights on the way down: list the writable directories beside the "
    "read-only one instead of the one around it.",
)
WORKDIR_UNSUITABLE = Code(
    "startup.workdir-unsuitable",
    "The work directory cannot be made writable.",
    "Choose a directory that is neither the root nor below /proc, or set include_workdir to false.",
)
