"""Does the container's user namespace know the ids? Source: user_namespaces(7)."""

from collections.abc import Iterable

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.decide import Identity

# The kernel takes at most 340 lines (UID_GID_MAP_MAX_EXTENTS) of three ten-digit columns.
MAX_MAP_BYTES = 340 * 36


def parse_id_map(content: bytes) -> tuple[range, ...]:
    """The ids that exist inside, from ``uid_map`` or ``gid_map``; raises ValueError if torn."""
    ranges = []
    for line in content.splitlines():
        inside, _, length = (int(column) for column in line.split())
        ranges.append(range(inside, inside + length))
    return tuple(ranges)


def own_id_map(kind: str) -> tuple[range, ...]:
    """The map of this process' user namespace; ``kind`` is ``uid`` or ``gid``."""
    # Bytes: a text file would import a codec, which an unprivileged process may be unable to read.
    with open(f"/proc/self/{kind}_map", "rb") as file:
        return parse_id_map(file.read(MAX_MAP_BYTES))


def check_mapped(numbers: Iterable[int], id_map: tuple[range, ...], what: str) -> None:
    """Refuse a number that setresuid(2) or setgroups(2) would answer with EINVAL.

    Raises Refusal ``identity.not-mapped``; ``what`` names the numbers in the message.
    """
    for number in numbers:
        if not any(number in mapped for mapped in id_map):
            there = ", ".join(f"{mapped.start}-{mapped.stop - 1}" for mapped in id_map[:3])
            raise Refusal(codes.NOT_MAPPED, f"{what} {number} is not mapped; mapped: {there}")


def check_identity_mapped(identity: Identity) -> None:
    """``check_mapped`` for everything that the workload will be, in the namespace we are in."""
    check_mapped([identity.uid], own_id_map("uid"), "uid")
    check_mapped([identity.gid, *identity.groups], own_id_map("gid"), "gid")
