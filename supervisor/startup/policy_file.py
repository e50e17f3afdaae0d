"""Read the policy file that argv names, as a trusted file."""

from supervisor.startup import codes
from supervisor.startup.trusted_file import Kind, read_trusted

POLICY_BYTES = 1 << 20  # the loader's own bound
_KIND = Kind(codes.POLICY_MISSING, codes.POLICY_UNTRUSTED, codes.POLICY_INVALID, POLICY_BYTES)


def read_policy(path: str, *, from_image: bool) -> bytes:
    """The bytes of a trusted policy file.

    Raises Refusal ``policy.missing``, ``policy.untrusted`` or ``policy.invalid``.
    """
    return read_trusted(path, _KIND, from_image=from_image)
