"""Write the sandbox account into an unpacked root file system."""

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.account_files import content_of, opened_etc, opened_file, opened_root
from supervisor.identity.accounts import group_file, gshadow_file, passwd_file, shadow_file
from supervisor.identity.entries import RootfsFiles, plan_rootfs_user
from supervisor.identity.inputs import HELPER_IDS
from supervisor.identity.write import EntryReport, apply_entries

ROOTFS_NAMES = ("passwd", "group", "shadow", "gshadow")


def add_user(root: str, *, name: str, uid: int, gid: int) -> EntryReport:
    """Make sure that the root file system at ``root`` has the account, and read it back.

    Every collision is found before the first write. The owner of the files is not checked: an
    unpacked tree belongs to whoever unpacked it. Raises Refusal ``identity.collision``,
    ``identity.reserved-id``, ``identity.file-*``, ``identity.write-failed``,
    ``identity.not-a-root``.
    """
    for helper, number in HELPER_IDS.items():
        if number in (uid, gid):
            raise Refusal(codes.RESERVED_ID, f"{number} is the id of {helper}")
    plan = plan_rootfs_user(read_rootfs(root), name=name, uid=uid, gid=gid)
    report = apply_entries(root, plan)
    if report.notes:
        raise Refusal(codes.WRITE_FAILED, "; ".join(report.notes))
    left = plan_rootfs_user(read_rootfs(root), name=name, uid=uid, gid=gid).additions
    if left:
        raise Refusal(
            codes.FILE_CHANGED,
            f"after writing, /etc/{left[0].name} does not have {name!r}",
        )
    return report


def read_rootfs(root: str) -> RootfsFiles:
    """The four account files below ``root``, each as records or as the reason why not."""
    contents: dict[str, bytes | Refusal] = {}
    with opened_root(root) as root_fd:
        try:
            with opened_etc(root_fd) as etc_fd:
                contents = {name: _content(etc_fd, name) for name in ROOTFS_NAMES}
        except Refusal as refusal:
            contents = dict.fromkeys(ROOTFS_NAMES, refusal)
    return RootfsFiles(
        passwd=passwd_file("/etc/passwd", contents["passwd"]),
        group=group_file("/etc/group", contents["group"]),
        shadow=shadow_file("/etc/shadow", contents["shadow"]),
        gshadow=gshadow_file("/etc/gshadow", contents["gshadow"]),
    )


def _content(etc_fd: int, name: str) -> bytes | Refusal:
    try:
        with opened_file(etc_fd, name) as descriptor:
            return content_of(descriptor, name)
    except Refusal as refusal:
        return refusal
