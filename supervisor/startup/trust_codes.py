"""Reason codes of --extra-ca."""

from supervisor.errors import Code

CA_MISSING = Code(
    "trust.ca-missing",
    "The file of --extra-ca cannot be opened.",
    "Check the path as the container sees it, and the mount that brings it there.",
)
CA_UNTRUSTED = Code(
    "trust.ca-untrusted",
    "Others than root can write the file of --extra-ca, or the image made it.",
    "Mount it read-only from outside, owned by root, mode 0444.",
)
CA_INVALID = Code(
    "trust.ca-invalid",
    "The file of --extra-ca does not hold certificates alone.",
    "Write one or more certificates in PEM form into it, and no private key.",
)
