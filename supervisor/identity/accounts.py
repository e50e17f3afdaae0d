"""Account files as data: bytes in, records or a refusal out. No file is opened here.

NSS is not used: it would run what the image's ``nsswitch.conf`` and libraries say. Strict where
glibc is lenient: a line that two libraries could read in two ways is refused, not guessed at.
Source: passwd(5), group(5), shadow(5), gshadow(5).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from supervisor.errors import Code, Refusal
from supervisor.identity import codes
from supervisor.identity.ids import canonical_number, quote

# An image's account files hold some dozens of lines; these bounds keep a hostile one cheap. A file
# that exceeds one is refused whole.
MAX_FILE_BYTES = 1 << 20
MAX_LINES = 16_384  # a million empty lines would cost the start most of a second
MAX_LINE_BYTES = 8 << 10
# Long enough for PATH_MAX/4 and every gecos; a group's member list may fill the line instead.
MAX_FIELD_BYTES = 1 << 10

PASSWD_FIELDS = 7
GROUP_FIELDS = 4
SHADOW_FIELDS = 9
GSHADOW_FIELDS = 4

_CONTROL_BYTES = bytes(range(0x20)) + b"\x7f"


class Account(NamedTuple):
    """A line of ``passwd``; gecos and password are nobody's business here."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


class Group(NamedTuple):
    """A line of ``group``."""

    name: str
    gid: int
    members: tuple[str, ...]


class Secret(NamedTuple):
    """A line of ``shadow`` or ``gshadow``, of which only the name matters."""

    name: str


class Named(Protocol):
    """What every record has."""

    @property
    def name(self) -> str:
        """The first field."""


Record_co = TypeVar("Record_co", bound=Named, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFile(Generic[Record_co]):
    """One account file as it was read, or the reason why it must not be used.

    The reason is kept as a value because a numeric identity needs no account file: only the
    decision that asks for records is refused.
    """

    path: str  # for messages, as the container sees it: /etc/passwd
    content: bytes | None = None  # None: missing, or refused before it was read
    records: tuple[Record_co, ...] = ()
    refusal: Refusal | None = None

    def usable(self) -> tuple[Record_co, ...]:
        """The records; raises the Refusal that was met while reading."""
        if self.refusal is not None:
            raise Refusal(self.refusal.code, self.refusal.cause, self.refusal.remedy)
        return self.records

    def present(self) -> tuple[Record_co, ...]:
        """The records, none where the file is missing; raises the Refusal met while reading."""
        return () if self.missing else self.usable()

    @property
    def missing(self) -> bool:
        """Whether there is no such file, as opposed to one that must not be used."""
        return self.refusal is not None and self.refusal.code is codes.FILE_MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The two files that an identity may depend on."""

    passwd: AccountFile[Account]
    group: AccountFile[Group]


def account_named(accounts: Accounts, name: str, source: str) -> Account:
    """The account of that name; raises Refusal ``identity.unknown-account`` or ``file-*``."""
    for account in accounts.passwd.usable():
        if account.name == name:
            return account
    raise Refusal(codes.UNKNOWN_ACCOUNT, f"{source}: {accounts.passwd.path} has no user {name!r}")


def account_with_uid(accounts: Accounts, uid: int) -> Account | None:
    """The only account with that uid, or None; raises ``identity.ambiguous-account``, ``file-*``."""
    found = [account for account in accounts.passwd.usable() if account.uid == uid]
    if len(found) > 1:
        names = ", ".join(quote(account.name) for account in found[:3])
        raise Refusal(codes.AMBIGUOUS_ACCOUNT, f"{accounts.passwd.path} gives uid {uid} to {names}")
    return found[0] if found else None


def group_named(accounts: Accounts, name: str, source: str) -> Group:
    """The group of that name; raises Refusal ``identity.unknown-account`` or ``file-*``."""
    for group in accounts.group.usable():
        if group.name == name:
            return group
    raise Refusal(codes.UNKNOWN_ACCOUNT, f"{source}: {accounts.group.path} has no group {name!r}")


def groups_listing(accounts: Accounts, user: str) -> tuple[Group, ...]:
    """Every group that lists the user as a member: what initgroups(3) would find without NSS."""
    return tuple(group for group in accounts.group.usable() if user in group.members)


def passwd_file(path: str, content: bytes | Refusal) -> AccountFile[Account]:
    """Parse ``passwd``; a refusal, the reader's or the parser's, becomes part of the value."""
    return _file(path, content, _parse_account)


def group_file(path: str, content: bytes | Refusal) -> AccountFile[Group]:
    """Parse ``group``, as ``passwd_file`` does."""
    return _file(path, content, _parse_group)


def shadow_file(path: str, content: bytes | Refusal) -> AccountFile[Secret]:
    """Parse ``shadow`` as far as its names, as ``passwd_file`` does."""
    return _file(path, content, _parse_shadow)


def gshadow_file(path: str, content: bytes | Refusal) -> AccountFile[Secret]:
    """Parse ``gshadow`` as far as its names, as ``passwd_file`` does."""
    return _file(path, content, _parse_gshadow)


def _file(
    path: str, content: bytes | Refusal, parse: Callable[["_Line"], Record_co]
) -> AccountFile[Record_co]:
    if isinstance(content, Refusal):
        return AccountFile(path=path, refusal=content)
    try:
        return AccountFile(path=path, content=content, records=_records(path, content, parse))
    except Refusal as refusal:
        return AccountFile(path=path, content=content, refusal=refusal)


class _Line(NamedTuple):
    """One line, and where it stands."""

    path: str
    number: int
    text: str

    def refusal(self, code: Code, problem: str) -> Refusal:
        return Refusal(code, f"{self.path}, line {self.number}: {problem}")

    def fields(self, count: int, *, bounded: int) -> list[str]:
        """Split at colons into exactly ``count`` fields, the first ``bounded`` of limited length."""
        fields = self.text.split(":")
        if len(fields) != count:
            raise self.refusal(codes.FILE_MALFORMED, f"{len(fields)} fields where {count} are due")
        for field in fields[:bounded]:
            if len(field.encode()) > MAX_FIELD_BYTES:
                raise self.refusal(
                    codes.FILE_TOO_LARGE, f"a field of more than {MAX_FIELD_BYTES} bytes"
                )
        return fields

    def number_in(self, field: str, what: str) -> int:
        number = canonical_number(field)
        if number is None:
            raise self.refusal(codes.FILE_MALFORMED, f"{what} is {quote(field)}, no canonical id")
        return number


def _records(
    path: str, content: bytes, parse: Callable[[_Line], Record_co]
) -> tuple[Record_co, ...]:
    if len(content) > MAX_FILE_BYTES:
        raise Refusal(codes.FILE_TOO_LARGE, f"{path} has more than {MAX_FILE_BYTES} bytes")
    lines = content.split(b"\n")
    if len(lines) > MAX_LINES:
        raise Refusal(codes.FILE_TOO_LARGE, f"{path} has more than {MAX_LINES} lines")
    records: dict[str, Record_co] = {}
    for number, raw in enumerate(lines, start=1):
        line = _decode(path, number, raw)
        if not line.text.strip() or line.text.startswith("#"):
            continue
        record = parse(line)
        if not record.name or not record.name.isprintable() or " " in record.name:
            raise line.refusal(codes.FILE_MALFORMED, f"the name is {quote(record.name)}")
        if records.setdefault(record.name, record) is not record:
            raise line.refusal(
                codes.AMBIGUOUS_ACCOUNT, f"a second entry named {quote(record.name)}"
            )
    return tuple(records.values())


def _decode(path: str, number: int, raw: bytes) -> _Line:
    """One line as text. A final carriage return stays: the C library keeps it in the last field."""
    line = _Line(path, number, "")
    if len(raw) > MAX_LINE_BYTES:
        raise line.refusal(codes.FILE_TOO_LARGE, f"more than {MAX_LINE_BYTES} bytes")
    visible = raw.removesuffix(b"\r")
    if visible.translate(None, delete=_CONTROL_BYTES) != visible:
        raise line.refusal(codes.FILE_MALFORMED, "a control character")
    try:
        return _Line(path, number, raw.decode())
    except UnicodeDecodeError:
        raise line.refusal(codes.FILE_MALFORMED, "not UTF-8") from None


def _parse_account(line: _Line) -> Account:
    name, _, uid, gid, _, home, shell = line.fields(PASSWD_FIELDS, bounded=PASSWD_FIELDS)
    return Account(
        name, line.number_in(uid, "the uid"), line.number_in(gid, "the gid"), home, shell
    )


def _parse_group(line: _Line) -> Group:
    name, _, gid, members = line.fields(GROUP_FIELDS, bounded=3)
    listed = tuple(members.removesuffix("\r").split(",")) if members.removesuffix("\r") else ()
    return Group(name, line.number_in(gid, "the gid"), listed)


def _parse_shadow(line: _Line) -> Secret:
    return Secret(line.fields(SHADOW_FIELDS, bounded=SHADOW_FIELDS)[0])


def _parse_gshadow(line: _Line) -> Secret:
    return Secret(line.fields(GSHADOW_FIELDS, bounded=2)[0])
