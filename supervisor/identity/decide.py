"""The decision table: who the workload is. Pure; nothing is opened, nothing is changed.

*Pair* means user and group given together: ``--uid --gid``, or ``SANDBOX_UID SANDBOX_GID`` (alias
``OPENSHELL_SANDBOX_UID``, ``_GID``). *Image user* is ``SANDBOX_IMAGE_USER`` (alias
``OPENSHELL_OCI_IMAGE_USER``), ``user[:group]``. Each is a number or a name.

<!-- table -->
| given | user and group of the workload |
|---|---|
| a variable and its alias, or the command line and the environment, with different texts | refused, `identity.conflict` |
| `--uid --gid`, and the environment adds what they leave out (`SANDBOX_GROUPS`, an image user) | refused, `identity.conflict` |
| one half of a pair, whatever else is given | refused, `identity.half-pair` |
| a pair and a non-empty image user | refused, `identity.conflict` |
| a pair | the pair; the policy must omit `run_as_*`, name the same ids, or say `sandbox`, its word for "whoever the sandbox is" |
| policy `run_as_*` and image user | each from the policy, else from the image user; without a group the primary group of the image user's account; what the policy overrides is not even looked at |
| policy `run_as_user` alone | it, and the primary group of its account; a number without account is refused, `identity.no-primary-group` |
| policy `run_as_group` alone | refused, `identity.half-pair` |
| an empty image user (the image declares nobody) and no more | refused, `identity.none-given` |
| nothing | the account `sandbox` of the account files, with a warning; where there is none, refused, `identity.none-given` |

| and then | |
|---|---|
| a number | canonical decimal, 1 to 4294967294; a warning below 1000 and for 65534 |
| a name | from `/etc/passwd`, `/etc/group`, read strictly and without NSS; must exist once |
| 0, `root`, a name or a membership that means 0 | refused, `identity.root` |
| supplementary groups | `--groups`, else `SANDBOX_GROUPS` (comma-separated, empty: none); else for a named user the groups that list it; for a number none |
| `USER`, `HOME`, `SHELL` | of a named user: its account's; of a number: the digits, `/sandbox`, `/bin/sh` |
| an id of egress or access (64998, 64999) | refused, `identity.reserved-id` |
| the supervisor is not root | its own ids; what is given must mean the same, `identity.process-differs`; policy `sandbox` means them; its supplementary groups must be exactly the declared ones, `identity.process-groups` |
<!-- end -->
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.accounts import (
    Account,
    Accounts,
    account_named,
    account_with_uid,
    group_named,
    groups_listing,
)
from supervisor.identity.ids import id_warning, parse_reference, quote
from supervisor.identity.inputs import Given, IdentityInputs, Request

SANDBOX = "sandbox"
DEFAULT_ACCOUNT = "the account 'sandbox', for want of any input"
NUMERIC_HOME = "/sandbox"
DEFAULT_SHELL = "/bin/sh"
# Far above any real list, far below the kernel's 65536 (NGROUPS_MAX): the launch reads it back.
MAX_GROUPS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the workload is, and which input said so."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary, sorted; holds gid only where it was declared
    user: str
    home: str
    shell: str
    sources: Mapping[str, str]  # field -> the input that decided it
    warnings: tuple[str, ...]


class _PrimaryOf(NamedTuple):
    """The group that is wanted is the primary group of this user's account."""

    user: Given


class _Choice(NamedTuple):
    """Which inputs decide."""

    user: Given
    group: Given | _PrimaryOf
    groups: Given | None
    is_pair: bool


class _User(NamedTuple):
    uid: int
    account: Account | None  # None: a number


def decide(inputs: IdentityInputs, accounts: Accounts) -> Identity:
    """Apply the table; raises Refusal ``identity.*``."""
    choice = _choose(inputs, accounts)
    user = _resolve_user(choice.user, accounts)
    gid, gid_source = _resolve_group(choice.group, accounts)
    groups, groups_source = _supplementary(choice.groups, user, accounts)
    name, home, shell = _person(user)
    person_source = "the number" if user.account is None else accounts.passwd.path
    identity = Identity(
        uid=user.uid,
        gid=gid,
        groups=groups,
        user=name,
        home=home,
        shell=shell,
        sources={
            "uid": choice.user.source,
            "gid": gid_source,
            "groups": groups_source,
            "user": person_source,
            "home": "default" if user.account is None else person_source,
            "shell": "default" if user.account is None else person_source,
        },
        warnings=_warnings(choice, user, gid, accounts),
    )
    if choice.is_pair:
        _check_policy_agrees(inputs, identity, accounts)
    if inputs.process.uid != 0:
        _check_process_agrees(inputs, identity)
    check_reserved(identity, inputs.helper_ids)
    return identity


def check_reserved(identity: Identity, helper_ids: Mapping[str, int]) -> None:
    """Refuse to share an id with a helper: a fence or a file mode that trusts it would trust both.

    ``helper_ids`` maps the helper's name to its number, used as uid and gid. Raises Refusal
    ``identity.reserved-id``.
    """
    check_reserved_ids((identity.uid, identity.gid, *identity.groups), helper_ids)


def check_reserved_ids(ids: Sequence[int], helper_ids: Mapping[str, int]) -> None:
    """The same for bare numbers: uid, gid, then groups. Raises Refusal ``identity.reserved-id``."""
    uid, gid, *groups = ids
    held = {uid: "uid", gid: "gid"}
    held.update({group: "group" for group in groups if group not in held})
    for helper, number in helper_ids.items():
        if number in held:
            raise Refusal(codes.RESERVED_ID, f"{held[number]} {number} is the id of {helper}")


def _choose(inputs: IdentityInputs, accounts: Accounts) -> _Choice:
    """Which input gives the user, and which the group."""
    request = _one_request(inputs)
    if request.uid is not None and request.gid is not None:
        if inputs.image_user is not None and inputs.image_user.text:
            raise Refusal(
                codes.CONFLICT,
                f"{request.uid.source} and {inputs.image_user.source} are both given",
            )
        return _Choice(request.uid, request.gid, request.groups, is_pair=True)
    user, group = _field_by_field(inputs)
    if inputs.process.uid != 0:
        own = "the running process"
        user = user or Given(str(inputs.process.uid), f"the uid of {own}")
        # Without a group of its own the input leaves the group to the process.
        if group is None or isinstance(group, _PrimaryOf):
            group = Given(str(inputs.process.gid), f"the gid of {own}")
    elif user is None and group is None:
        user = _default_user(inputs, accounts)
        group = _PrimaryOf(user)
    if user is None or group is None:
        raise Refusal(codes.HALF_PAIR, "the policy's run_as_group is given without run_as_user")
    return _Choice(user, group, request.groups, is_pair=False)


def _one_request(inputs: IdentityInputs) -> Request:
    """The command line's wish, else the environment's; never half of each."""
    arguments, environment = inputs.arguments, inputs.environment
    for request in (arguments, environment):
        if (request.uid is None) != (request.gid is None):
            present, absent = ("uid", "gid") if request.gid is None else ("gid", "uid")
            given = request.uid or request.gid
            raise Refusal(
                codes.HALF_PAIR, f"{given and given.source} gives a {present}, no {absent}"
            )
    if arguments.uid is not None:
        # An image can bake variables: it may repeat what the command line says, and add nothing.
        _check_same(arguments.uid, environment.uid)
        _check_same(arguments.gid, environment.gid)
        if environment.groups is not None and arguments.groups is None:
            raise Refusal(
                codes.CONFLICT,
                f"{environment.groups.source} adds groups to the identity of the command line",
                "Pass --groups, too, or remove the variable.",
            )
    _check_same(arguments.groups, environment.groups)
    return Request(
        uid=arguments.uid or environment.uid,
        gid=arguments.gid or environment.gid,
        groups=arguments.groups or environment.groups,
    )


def _check_same(first: Given | None, second: Given | None) -> None:
    if first is not None and second is not None and first.text != second.text:
        raise Refusal(
            codes.CONFLICT,
            f"{first.source} is {quote(first.text)}, {second.source} is {quote(second.text)}",
        )


def _field_by_field(inputs: IdentityInputs) -> tuple[Given | None, Given | _PrimaryOf | None]:
    """User and group from the policy, and what it omits from the image's declaration."""
    user = _policy_field(inputs, inputs.run_as_user, "run_as_user")
    group: Given | _PrimaryOf | None = _policy_field(inputs, inputs.run_as_group, "run_as_group")
    image = inputs.image_user
    if image is not None and image.text and (user is None or group is None):
        name, colon, group_name = image.text.partition(":")
        declared = Given(name, f"the user of {image.source}")
        if group is None:
            group = (
                Given(group_name, f"the group of {image.source}") if colon else _PrimaryOf(declared)
            )
        user = user or declared
    if user is not None and group is None:
        group = _PrimaryOf(user)
    return user, group


def _policy_field(inputs: IdentityInputs, text: str | None, field: str) -> Given | None:
    # A process that is already the sandbox's identity need not find an account for the word.
    if text is None or (text == SANDBOX and inputs.process.uid != 0):
        return None
    return Given(text, f"the policy's {field}")


def _default_user(inputs: IdentityInputs, accounts: Accounts) -> Given:
    """The account ``sandbox``, which a reader of the reference's images expects."""
    if inputs.image_user is not None:
        raise Refusal(
            codes.NONE_GIVEN, f"{inputs.image_user.source} is empty: the image declares no user"
        )
    nobody = f"nothing is given, and {accounts.passwd.path} has no account 'sandbox'"
    if accounts.passwd.missing:
        raise Refusal(codes.NONE_GIVEN, nobody)
    if all(account.name != SANDBOX for account in accounts.passwd.usable()):
        raise Refusal(codes.NONE_GIVEN, nobody)
    return Given(SANDBOX, DEFAULT_ACCOUNT)


def _resolve_user(given: Given, accounts: Accounts) -> _User:
    reference = parse_reference(given.text, given.source)
    if isinstance(reference, int):
        return _User(reference, None)
    account = account_named(accounts, reference, given.source)
    if account.uid == 0:
        raise Refusal(codes.ROOT, f"{given.source}: user {reference!r} has uid 0")
    return _User(account.uid, account)


def _resolve_group(group: Given | _PrimaryOf, accounts: Accounts) -> tuple[int, str]:
    """The gid, and what said so."""
    if isinstance(group, Given):
        return _named_or_numeric_gid(group, accounts), group.source
    user = _resolve_user(group.user, accounts)
    account = user.account or account_with_uid(accounts, user.uid)
    if account is None:
        raise Refusal(
            codes.NO_PRIMARY_GROUP,
            f"{group.user.source} is {user.uid}, and {accounts.passwd.path} has no such uid",
        )
    if account.gid == 0:
        raise Refusal(codes.ROOT, f"the primary group of user {quote(account.name)} is 0")
    return account.gid, f"the primary group of {quote(account.name)} in {accounts.passwd.path}"


def _named_or_numeric_gid(given: Given, accounts: Accounts) -> int:
    reference = parse_reference(given.text, given.source)
    if isinstance(reference, int):
        return reference
    gid = group_named(accounts, reference, given.source).gid
    if gid == 0:
        raise Refusal(codes.ROOT, f"{given.source}: group {reference!r} has gid 0")
    return gid


def _supplementary(
    given: Given | None, user: _User, accounts: Accounts
) -> tuple[tuple[int, ...], str]:
    """The whole list of supplementary groups, and what said so; nothing is ever inherited."""
    if given is not None:
        words = given.text.split(",") if given.text else []
        source = given.source
        if len(words) <= MAX_GROUPS:
            found = {_named_or_numeric_gid(Given(word, source), accounts) for word in words}
            return tuple(sorted(found)), source
        count = len(words)
    elif user.account is None:
        return (), "none: the user is a number"
    else:
        listing = groups_listing(accounts, user.account.name)
        source = f"the groups that list {user.account.name!r} in {accounts.group.path}"
        for group in listing:
            if group.gid == 0:
                raise Refusal(
                    codes.ROOT, f"group {quote(group.name)}, gid 0, lists {user.account.name!r}"
                )
        if len(listing) <= MAX_GROUPS:
            return tuple(sorted({group.gid for group in listing})), source
        count = len(listing)
    raise Refusal(codes.TOO_MANY_GROUPS, f"{source}: {count}, at most {MAX_GROUPS}")


def _person(user: _User) -> tuple[str, str, str]:
    """Name, home and shell."""
    if user.account is None:
        return str(user.uid), NUMERIC_HOME, DEFAULT_SHELL
    account = user.account
    shell = account.shell or DEFAULT_SHELL  # passwd(5): empty means /bin/sh
    for what, path in (("home", account.home), ("shell", shell)):
        if not (path.startswith("/") and path.isprintable()):
            raise Refusal(
                codes.UNUSABLE_ACCOUNT, f"the {what} of {quote(account.name)} is {quote(path)}"
            )
    return account.name, account.home, shell


def _warnings(choice: _Choice, user: _User, gid: int, accounts: Accounts) -> tuple[str, ...]:
    found = [id_warning("uid", user.uid), id_warning("gid", gid)]
    if choice.user.source == DEFAULT_ACCOUNT:
        found.append("nothing says who the workload is: the account 'sandbox' was taken")
    if user.account is None:
        # The name of the number matters to nobody's rights, so that an unusable file is no refusal.
        owners = [account for account in accounts.passwd.records if account.uid == user.uid]
        found += [
            f"uid {user.uid} is the account {quote(owner.name)} with home {quote(owner.home)}; "
            f"give the name instead of the number to get these"
            for owner in owners[:1]
        ]
    return tuple(warning for warning in found if warning is not None)


def _check_policy_agrees(inputs: IdentityInputs, identity: Identity, accounts: Accounts) -> None:
    """The policy may repeat the pair, and not contradict it."""
    if inputs.run_as_user not in (None, SANDBOX):
        user = Given(inputs.run_as_user, "the policy's run_as_user")
        _check_agrees(user, _resolve_user(user, accounts).uid, identity, "uid", identity.uid)
    if inputs.run_as_group not in (None, SANDBOX):
        group = Given(inputs.run_as_group, "the policy's run_as_group")
        _check_agrees(group, _named_or_numeric_gid(group, accounts), identity, "gid", identity.gid)


def _check_agrees(
    given: Given, number: int, identity: Identity, component: str, decided: int
) -> None:
    if number != decided:
        raise Refusal(
            codes.CONFLICT,
            f"{given.source} is {quote(given.text)}, {identity.sources[component]} is {decided}",
        )


def _check_process_agrees(inputs: IdentityInputs, identity: Identity) -> None:
    """An unprivileged process can change nothing about itself: it has to be right already."""
    process = inputs.process
    for component, wanted, actual in (
        ("uid", identity.uid, process.uid),
        ("gid", identity.gid, process.gid),
    ):
        if wanted != actual:
            raise Refusal(
                codes.PROCESS_DIFFERS,
                f"{identity.sources[component]} means {component} {wanted}, "
                f"and this process has {component} {actual}",
            )
    held = set(process.groups) - {process.gid}
    declared = set(identity.groups) - {process.gid}
    if held != declared:
        raise Refusal(
            codes.PROCESS_GROUPS,
            f"this process has the groups {sorted(held)}, declared are {sorted(declared)}",
        )
