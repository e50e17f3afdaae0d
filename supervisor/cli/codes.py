"""Codes of the command line itself."""

from supervisor.errors import Code

FILE_UNREADABLE = Code(
    "cli.file-unreadable",
    "A file named on the command line cannot be read.",
    "Check its path, type and permissions.",
)
POLICY_REFUSED = Code(
    "cli.policy-refused",
    "A policy has errors, so that nothing can be decided by it.",
    "Run 'sandbox-supervisor policy check' and correct what it lists.",
)
INTERNAL_ERROR = Code(
    "cli.internal-error",
    "A command met an error that it did not expect.",
    "Report it with the lines that follow.",
)
ARGUMENTS = Code(
    "cli.arguments",
    "The arguments of a command do not go together, or one has no sound value.",
    "See the command's --help.",
)
