"""Account files and inputs for the identity tests."""

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.accounts import Accounts, group_file, passwd_file
from supervisor.identity.inputs import Given, IdentityInputs, ProcessIds, Request

PASSWD = b"""root:x:0:0:root:/root:/bin/bash
toor:x:0:0::/root:/bin/sh
app:x:1000:1001:The App:/home/app:/bin/bash
zerogroup:x:1002:0::/home/zero:/bin/sh
wheelish:x:1003:1003::/home/wheelish:/bin/sh
noshell:x:1004:1004::/home/noshell:
homeless:x:1005:1005:::/bin/sh
numbered:x:1234:1236::/home/numbered:/bin/sh
twin1:x:1300:1300::/home/twin1:/bin/sh
twin2:x:1300:1301::/home/twin2:/bin/sh
"""
GROUP = b"""root:x:0:wheelish
toor:x:0:
app:x:1001:
staff:x:50:app,other
video:x:44:other,app
sandboxes:x:2001:
"""
SANDBOX = b"sandbox:x:998:997::/sandbox:/bin/bash\n"


def missing(path: str) -> Refusal:
    return Refusal(codes.FILE_MISSING, f"{path} does not exist")


def accounts(
    passwd: bytes | Refusal | None = PASSWD, group: bytes | Refusal | None = GROUP
) -> Accounts:
    """The files, each as its content, as the refusal its reading met, or as missing (None)."""
    return Accounts(
        passwd=passwd_file("/etc/passwd", missing("/etc/passwd") if passwd is None else passwd),
        group=group_file("/etc/group", missing("/etc/group") if group is None else group),
    )


def inputs(
    *,
    argv: tuple[str | None, str | None, str | None] = (None, None, None),
    env: tuple[str | None, str | None, str | None] = (None, None, None),
    image: str | None = None,
    policy: tuple[str | None, str | None] = (None, None),
    process: tuple[int, int, tuple[int, ...]] = (0, 0, ()),
) -> IdentityInputs:
    """Inputs by origin; each triple is uid, gid, groups."""
    return IdentityInputs(
        arguments=_request(argv, ("--uid", "--gid", "--groups")),
        environment=_request(env, ("SANDBOX_UID", "SANDBOX_GID", "SANDBOX_GROUPS")),
        image_user=None if image is None else Given(image, "SANDBOX_IMAGE_USER"),
        run_as_user=policy[0],
        run_as_group=policy[1],
        process=ProcessIds(uid=process[0], gid=process[1], groups=process[2]),
    )


def _request(texts: tuple[str | None, str | None, str | None], names: tuple[str, ...]) -> Request:
    uid, gid, groups = (
        None if text is None else Given(text, name) for text, name in zip(texts, names, strict=True)
    )
    return Request(uid=uid, gid=gid, groups=groups)
