"""Why nothing was installed, or a volume not prepared."""

from supervisor.errors import Code

NOT_A_RUNTIME = Code(
    "install.not-a-runtime",
    "This program does not run from a self-contained runtime, so there is nothing to copy.",
    "Start 'install' from the supervisor's image or from a built runtime.",
)
BAD_DESTINATION = Code(
    "install.bad-destination",
    "The runtime cannot stand at this path: its launcher would refuse to start there.",
    "Name an absolute path without ':', ';', '$' and '..'; its parent directory must exist.",
)
UNTRUSTED_DESTINATION = Code(
    "install.untrusted-destination",
    "Somebody else can decide where the path leads, and so which program is started from it.",
    "Name a path whose symbolic links, if any, only root can make.",
)
OCCUPIED = Code(
    "install.occupied",
    "Something stands at the destination that 'install' did not make.",
    "Name an empty directory, or remove what stands there.",
)
FAILED = Code(
    "install.failed",
    "The copy could not be made; what was installed before is untouched.",
    "See the cause: a full, read-only or failing volume, usually.",
)
DAMAGED = Code(
    "install.damaged",
    "The copy, read back, is not what was copied.",
    "Suspect the volume, or somebody else who writes to it.",
)
ALTERED = Code(
    "install.altered",
    "The files of this runtime are not those that its build made.",
    "Take the runtime from its image or its build again, and find out who changed this one.",
)
SCRATCH = Code(
    "install.scratch-directory",
    "A directory of the pod could not be made writable for the workload.",
    "Mount a volume there, and give the init container CAP_FOWNER where root does not own it.",
)
SEED = Code(
    "install.seed",
    "The image's work directory could not be copied into the volume.",
    "See the cause: a file that the workload may not read in the image, or a full volume, usually.",
)
