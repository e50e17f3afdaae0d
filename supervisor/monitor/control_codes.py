"""Why a running sandbox could not be asked."""

from supervisor.errors import Code

NOT_RUNNING = Code(
    "control.not-running",
    "No supervisor answers on the control socket here.",
    "Run the command inside the sandbox's container, while the sandbox runs.",
)
NOT_ALLOWED = Code(
    "control.not-allowed",
    "The control socket does not accept this user.",
    "Ask as root, or as the user that the supervisor runs as.",
)
PROTOCOL = Code(
    "control.protocol",
    "The supervisor answered with something that is not its protocol, or ended in mid-answer.",
    "Use the same version of the program on both sides.",
)
CUT = Code(
    "control.cut",
    "Records arrived faster than they were read, so the supervisor ended the stream.",
    "Read faster, write to a file, or ask for --denied only.",
)
