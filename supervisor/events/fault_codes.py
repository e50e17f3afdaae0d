"""What a process of the supervisor says of an error that it did not expect."""

from supervisor.errors import Code

INTERNAL_ERROR = Code(
    "process.internal-error",
    "A process of the supervisor met an error that it did not expect.",
    "Look whether memory, descriptors or /proc are short in this container; if not, report the "
    "record, whose trace says where it was.",
)
LIBRARY_WARNING = Code(
    "process.library-warning",
    "A library that a process of the supervisor uses complained.",
    "Nothing ended by that. If it repeats, report the record.",
)
