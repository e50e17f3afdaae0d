"""Who the workload is in a Kubernetes namespace: configured ids, OpenShift's annotations, 1000.

OpenShift gives each namespace ranges of ids and admits, under its restricted constraints, only
pods inside of them: runAsUser within ``sa.scc.uid-range``, fsGroup within the first block of
``sa.scc.supplemental-groups``. Pure: whoever calls brings the text.

<!-- table -->
| value | first | then | then | else |
|---|---|---|---|---|
| uid | configured uid | start of `openshift.io/sa.scc.uid-range` | | 1000 |
| gid | configured gid | configured uid | start of `openshift.io/sa.scc.supplemental-groups` | the uid |

An annotation that is absent leads to the next column; one that is empty, malformed, begins with
root or overflows is refused, and so is a configured id outside of its range: never a silent 1000.
<!-- end -->

Source: https://docs.redhat.com/en/documentation/openshift_container_platform, "Managing security
context constraints", pre-allocated values.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from supervisor.errors import Refusal
from supervisor.identity import codes, openshift_codes
from supervisor.identity.ids import MAX_ID, canonical_number, id_warning, parse_id, quote
from supervisor.identity.inputs import HELPER_IDS

UID_RANGE = "openshift.io/sa.scc.uid-range"
SUPPLEMENTAL_GROUPS = "openshift.io/sa.scc.supplemental-groups"
DEFAULT_ID = 1000
DEFAULT_SOURCE = "the default"
# All annotations of one object may take 256 KiB; the rest of a namespace is small.
MAX_TEXT = 1 << 20
# OpenShift allocates one block a namespace; an administrator may add a few by hand.
MAX_BLOCKS = 64


class Block(NamedTuple):
    """A range of ids, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIds:
    """The ids for the pod, and which input said so."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary, sorted
    sources: Mapping[str, str]  # "uid", "gid" -> the input that decided
    warnings: tuple[str, ...]


def resolve(
    *,
    uid: str | None,
    gid: str | None,
    groups: str = "",
    annotations: Mapping[str, str] | None,
) -> PodIds:
    """Apply the table; ``annotations`` None means that no namespace was looked at.

    Raises Refusal ``identity.bad-id``, ``.out-of-range``, ``.root``, ``.reserved-id``,
    ``.bad-range`` or ``.outside-range``.
    """
    uids = _blocks_of(annotations, UID_RANGE)
    gids = _blocks_of(annotations, SUPPLEMENTAL_GROUPS)
    given_uid = None if uid is None else parse_id(uid, "--uid")
    given_gid = None if gid is None else parse_id(gid, "--gid")
    chosen_uid, uid_source = _first(
        (given_uid, "--uid"), (_start(uids), UID_RANGE), (DEFAULT_ID, DEFAULT_SOURCE)
    )
    chosen_gid, gid_source = _first(
        (given_gid, "--gid"),
        (given_uid, "--uid"),
        (_start(gids), SUPPLEMENTAL_GROUPS),
        (chosen_uid, uid_source),
    )
    _check_inside(chosen_uid, f"uid {chosen_uid} ({uid_source})", uids, UID_RANGE)
    # fsGroup, which is the gid, must lie in the first block; the further ones are for others
    _check_inside(chosen_gid, f"gid {chosen_gid} ({gid_source})", gids[:1], SUPPLEMENTAL_GROUPS)
    listed = parse_groups(groups)
    _check_helpers(chosen_uid, chosen_gid, listed)
    return PodIds(
        uid=chosen_uid,
        gid=chosen_gid,
        groups=listed,
        sources={"uid": uid_source, "gid": gid_source},
        warnings=tuple(_warnings(chosen_uid, chosen_gid, uids, looked=annotations is not None)),
    )


def parse_blocks(text: str, annotation: str) -> tuple[Block, ...]:
    """The ranges of an annotation: ``START/SIZE`` or ``START-END``, several with commas.

    Spaces around numbers are tolerated. Raises Refusal ``identity.bad-range`` for anything else and
    for a range that begins with 0 or reaches past 4294967294; all blocks are checked.
    """
    words = text.split(",")
    if len(words) > MAX_BLOCKS:
        raise _bad(annotation, text, f"has more than {MAX_BLOCKS} blocks")
    return tuple(_block(word, annotation, text) for word in words)


def parse_groups(text: str) -> tuple[int, ...]:
    """Supplementary groups, comma-separated, sorted; empty: none. Raises Refusal ``identity.*``."""
    words = text.split(",") if text else []
    return tuple(sorted({parse_id(word, "--groups") for word in words}))


def read_annotations(text: str, source: str) -> dict[str, str]:
    """The annotations in a namespace's JSON, or in a plain JSON object of annotations.

    ``source`` names the input in messages. Raises Refusal ``identity.bad-annotations``.
    """
    if len(text) > MAX_TEXT:
        raise _unreadable(source, f"is longer than {MAX_TEXT} characters")
    try:
        found = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _unreadable(source, f"is not JSON: {error}") from error
    match found:
        case {"items": [*_]}:
            raise _unreadable(source, "is a list of objects: name the one namespace")
        case {"metadata": {"annotations": annotations}}:
            pass
        case {"metadata": {}}:
            annotations = {}
        case _:
            annotations = found
    if not isinstance(annotations, dict):
        raise _unreadable(source, "holds no JSON object of annotations")
    for name, value in annotations.items():
        if not isinstance(value, str):
            raise _unreadable(source, f"annotation {quote(name)} is not a text")
    return annotations


def _first(*candidates: tuple[int | None, str]) -> tuple[int, str]:
    """The first candidate that there is; the last one always is."""
    return next((number, source) for number, source in candidates if number is not None)


def _start(blocks: tuple[Block, ...]) -> int | None:
    return blocks[0].first if blocks else None


def _blocks_of(annotations: Mapping[str, str] | None, name: str) -> tuple[Block, ...]:
    if annotations is None or name not in annotations:
        return ()
    return parse_blocks(annotations[name], name)


def _block(word: str, annotation: str, whole: str) -> Block:
    separator = "/" if "/" in word else "-"
    start_text, found, end_text = (part.strip(" ") for part in word.partition(separator))
    if not found:
        raise _bad(annotation, whole, "is neither START/SIZE nor START-END")
    first = _number(start_text, annotation, whole, "its start")
    if first == 0:
        raise _bad(annotation, whole, "begins with 0, which is root")
    end = _number(end_text, annotation, whole, "its size" if separator == "/" else "its end")
    last = first + end - 1 if separator == "/" else end
    if last < first:
        raise _bad(annotation, whole, "holds no id")
    if last > MAX_ID:
        raise _bad(annotation, whole, f"reaches past {MAX_ID}, the last id there is")
    return Block(first, last)


def _number(text: str, annotation: str, whole: str, what: str) -> int:
    number = canonical_number(text)
    if number is None:
        raise _bad(annotation, whole, f"{what} is no decimal number up to {MAX_ID}")
    return number


def _check_inside(number: int, what: str, blocks: tuple[Block, ...], annotation: str) -> None:
    if blocks and not any(block.first <= number <= block.last for block in blocks):
        ranges = ", ".join(map(str, blocks[:3]))
        raise Refusal(
            openshift_codes.OUTSIDE_RANGE, f"{what} is outside of {annotation}, which is {ranges}"
        )


def _check_helpers(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    held = {**dict.fromkeys(groups, "group"), gid: "gid", uid: "uid"}
    for helper, number in HELPER_IDS.items():
        if number in held:
            raise Refusal(codes.RESERVED_ID, f"{held[number]} {number} is the id of {helper}")


def _warnings(uid: int, gid: int, uids: tuple[Block, ...], *, looked: bool) -> list[str]:
    found = [id_warning("uid", uid), id_warning("gid", gid)]
    if looked and not uids:
        found.append(f"the namespace has no {UID_RANGE}: it is not one of OpenShift's")
    return [warning for warning in found if warning is not None]


def _bad(annotation: str, text: str, why: str) -> Refusal:
    return Refusal(openshift_codes.BAD_RANGE, f"{annotation} is {quote(text)}: {why}")


def _unreadable(source: str, why: str) -> Refusal:
    return Refusal(openshift_codes.BAD_ANNOTATIONS, f"{source} {why}")


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object that says one thing twice has two readers who see two things."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found
