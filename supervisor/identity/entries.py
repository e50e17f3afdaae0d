"""Which lines the account files lack, as data. Pure: ``write.py`` puts them into place.

Lines are only ever appended. A line that is there is nobody's mistake that we could know of.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.accounts import Account, AccountFile, Accounts, Group, Named, Secret
from supervisor.identity.decide import DEFAULT_SHELL, NUMERIC_HOME, Identity
from supervisor.identity.ids import quote

PUBLIC_MODE = 0o644
SECRET_MODE = 0o640


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """One file of ``etc``, before and after; nothing but whole lines is appended."""

    name: str  # below etc
    before: bytes | None  # None: the file is to be created
    after: bytes
    mode: int  # of a created file; a present one keeps its own


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlan:
    """What to add, in this order, and what was left alone and why."""

    additions: tuple[Addition, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RootfsFiles:
    """The four account files of an unpacked root file system."""

    passwd: AccountFile[Account]
    group: AccountFile[Group]
    shadow: AccountFile[Secret]
    gshadow: AccountFile[Secret]


def plan_entries(accounts: Accounts, identity: Identity) -> EntryPlan:
    """The entries without which ``whoami`` and ``getpwuid`` would fail inside the container.

    The name of a number is its digits, as podman does it, so that the file and USER agree. Nothing
    here is needed for the workload to run: what stands in the way becomes a note, not a refusal.
    """
    gids, group_notes = _missing(
        accounts.group,
        [group.gid for group in accounts.group.records],
        wanted=(identity.gid, *identity.groups),
    )
    uids, passwd_notes = _missing(
        accounts.passwd,
        [account.uid for account in accounts.passwd.records],
        wanted=(identity.uid,),
    )
    rest = f"{identity.gid}::{identity.home}:{identity.shell}"
    additions = []
    # The group first: an account never names a group that is not there yet.
    if gids:
        lines = [f"{gid}:*:{gid}:" for gid in gids]
        additions.append(_append("group", accounts.group, lines, PUBLIC_MODE))
    if uids:
        lines = [f"{uid}:*:{uid}:{rest}" for uid in uids]
        additions.append(_append("passwd", accounts.passwd, lines, PUBLIC_MODE))
    return EntryPlan(additions=tuple(additions), notes=group_notes + passwd_notes)


def plan_rootfs_user(files: RootfsFiles, *, name: str, uid: int, gid: int) -> EntryPlan:
    """The lines that ``rootfs add-user`` adds; none where all are there already.

    Raises Refusal ``identity.collision`` where name, uid or gid belongs to another account, and
    ``identity.file-*`` where a present file cannot be understood.
    """
    has_account = _has_account(files.passwd.present(), name, uid, gid)
    has_group = _has_group(files.group.present(), name, gid)
    additions = []
    if not has_group:
        additions.append(_append("group", files.group, [f"{name}:x:{gid}:"], PUBLIC_MODE))
    if name not in _names(files.gshadow):
        additions.append(_append("gshadow", files.gshadow, [f"{name}:!::"], SECRET_MODE))
    if not has_account:
        line = f"{name}:x:{uid}:{gid}::{NUMERIC_HOME}:{DEFAULT_SHELL}"
        additions.append(_append("passwd", files.passwd, [line], PUBLIC_MODE))
    if name not in _names(files.shadow):
        # No password, and no date of change: shadow(5) then applies no ageing, and the same input
        # gives the same image on every day.
        additions.append(_append("shadow", files.shadow, [f"{name}:!:::::::"], SECRET_MODE))
    return EntryPlan(additions=tuple(additions), notes=())


def _missing(
    file: AccountFile[Named], present: list[int], *, wanted: tuple[int, ...]
) -> tuple[list[int], tuple[str, ...]]:
    """The wanted numbers that can get an entry, and notes about those that lack one and cannot."""
    if file.refusal is not None and not file.missing:
        return [], (f"{file.path} is left alone: {file.refusal.cause}",)
    names = {record.name for record in file.records}
    lacking = [number for number in dict.fromkeys(wanted) if number not in present]
    notes = tuple(
        f"{file.path} gets no entry for {number}: another id has that name there"
        for number in lacking
        if str(number) in names
    )
    return [number for number in lacking if str(number) not in names], notes


def _append(name: str, file: AccountFile[Named], lines: list[str], mode: int) -> Addition:
    before = file.content
    kept = before or b""
    if kept and not kept.endswith(b"\n"):
        kept += b"\n"
    added = "".join(f"{line}\n" for line in lines).encode()
    return Addition(name=name, before=before, after=kept + added, mode=mode)


def _names(file: AccountFile[Secret]) -> set[str]:
    return {record.name for record in file.present()}


def _has_account(accounts: Iterable[Account], name: str, uid: int, gid: int) -> bool:
    found = False
    for account in accounts:
        if (account.name, account.uid, account.gid) == (name, uid, gid):
            found = True
        elif account.name == name or account.uid == uid:
            raise Refusal(
                codes.COLLISION,
                f"/etc/passwd has {quote(account.name)} with uid {account.uid}, gid {account.gid}",
            )
    return found


def _has_group(groups: Iterable[Group], name: str, gid: int) -> bool:
    found = False
    for group in groups:
        if (group.name, group.gid) == (name, gid):
            found = True
        elif group.name == name or group.gid == gid:
            raise Refusal(
                codes.COLLISION, f"/etc/group has {quote(group.name)} with gid {group.gid}"
            )
    return found
