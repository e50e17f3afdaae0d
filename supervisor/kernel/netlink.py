"""A plain netlink socket: one request, one dump, or one atomic nftables batch.

The messages come in encoded (pyroute2 is the codec, see ``codec``); this module numbers them,
sends them and matches the answers. pyroute2's own sockets are not used: they bring asyncio, and
its batch waits for ever when the kernel refuses a whole batch, because that error carries the
number of the opening message, which nobody waits for.

Sources: netlink(7), Documentation/userspace-api/netlink/intro.rst, net/netfilter/nfnetlink.c.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

NETLINK_ROUTE = 0
NETLINK_SOCK_DIAG = 4
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x001
NLM_F_MULTI = 0x002
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLMSG_ERROR = 2
NLMSG_DONE = 3
NFNL_BATCH_BEGIN = 0x10
NFNL_BATCH_END = 0x11
NFNL_SUBSYS_NFTABLES = 10

SOL_NETLINK = 270
NETLINK_CAP_ACK = 10  # answers need not repeat the request

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port id
ERROR = struct.Struct("=i")
ATTRIBUTE = struct.Struct("=HH")  # length, type
ATTRIBUTE_NESTED = 0x8000
ATTRIBUTE_TYPE_MASK = 0x3FFF
SEQUENCE_OFFSET = 8

# The kernel answers netlink in microseconds; five seconds is a machine in trouble, not a slow one.
ANSWER_TIMEOUT_S = 5.0
# A dump that something else changed while we read it starts again; a rule set that never holds
# still for five reads is being fought over, which the caller must hear of.
DUMP_ATTEMPTS = 5
# A batch goes out as one datagram. The machine caps this (net.core.wmem_max); 400 KiB, the usual
# cap, hold a thousand rules, and a batch that is larger is refused by the kernel (EMSGSIZE).
SEND_BUFFER = 4 << 20
# The kernel packs dump answers into buffers of at most 32 KiB (NLMSG_GOODSIZE and up).
RECEIVE_SIZE = 1 << 17


class Request(NamedTuple):
    """An encoded message (header included) and, for errors, what it asks for."""

    message: bytes
    what: str


class NetlinkError(OSError):
    """The kernel refused a request; ``what`` says which one, ``errno`` and ``strerror`` why."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, os.strerror(number))
        self.what = what

    def __str__(self) -> str:
        return f"{self.what}: {self.strerror}"


class NetlinkSocket:
    """One netlink conversation. Not shared between threads; closed by its owner or ``with``."""

    def __init__(self, held: socket.socket) -> None:
        """Take over an open netlink socket. ``open`` makes one."""
        self.socket = held
        self.socket.settimeout(ANSWER_TIMEOUT_S)
        # A socket that had another life answers late to old numbers; these are new.
        self._sequence = time.monotonic_ns() // 1000 & 0x7FFFFFFF
        self._data = b""

    @classmethod
    def open(cls, protocol: int, groups: int = 0) -> Self:
        """Open and bind. ``groups`` is a bit mask of multicast groups to join from the start."""
        held = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        held.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        held.bind((0, groups))
        return cls(held)

    @classmethod
    def adopt(cls, descriptor: int) -> Self:
        """Use a netlink socket that another process opened; it stays open for its holder."""
        return cls(socket.socket(fileno=os.dup(descriptor)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def request(self, request: Request) -> None:
        """Send one request (it carries NLM_F_ACK) and wait for its acknowledgement.

        Raises NetlinkError.
        """
        number, message = self._number(request.message)
        self._send(message, request.what)
        for sequence, kind, body in self._answers(request.what):
            if kind == NLMSG_ERROR and sequence == number:
                _raise_error(body, request.what)
                return

    def dump(self, request: Request) -> list[bytes]:
        """Send a dump request and return its answers, whole messages each.

        A dump interrupted by a change is repeated, DUMP_ATTEMPTS times. Raises NetlinkError.
        """
        for _ in range(DUMP_ATTEMPTS):
            answers = self._dump_once(request)
            if answers is not None:
                return answers
        raise NetlinkError(errno.EINTR, f"{request.what} (changed during {DUMP_ATTEMPTS} reads)")

    def batch(self, requests: Sequence[Request]) -> None:
        """Apply nftables requests as one transaction: all of them or none.

        Raises NetlinkError that names the first request that the kernel refused; a batch that was
        refused as a whole (no CAP_NET_ADMIN, no memory) is named so.
        """
        begin, data = self._number(_batch_mark(NFNL_BATCH_BEGIN))
        sent: dict[int, str] = {begin: f"batch of {len(requests)} requests"}
        parts = [data]
        for position, request in enumerate(requests, start=1):
            # Only the last one is acknowledged: thousands of answers would overrun our buffer.
            # Refusals are always answered, before that acknowledgement.
            flags = NLM_F_ACK if position == len(requests) else 0
            number, data = self._number(request.message, flags)
            sent[number] = request.what
            parts.append(data)
        last = self._sequence
        parts.append(self._number(_batch_mark(NFNL_BATCH_END))[1])
        self._send(b"".join(parts), sent[begin])
        self._await_batch(sent, begin, last)

    def _await_batch(self, sent: dict[int, str], begin: int, last: int) -> None:
        refused: NetlinkError | None = None
        for sequence, kind, body in self._answers(sent[begin]):
            if kind != NLMSG_ERROR or sequence not in sent:
                continue
            (code,) = ERROR.unpack_from(body)
            if code and refused is None:
                refused = NetlinkError(-code, sent[sequence])
            if sequence == last or (sequence == begin and code):
                break
        if refused is not None:
            raise refused

    def _dump_once(self, request: Request) -> list[bytes] | None:
        number, message = self._number(request.message)
        self._send(message, request.what)
        found: list[bytes] = []
        interrupted = False
        while True:
            for start, length, kind, flags, sequence in self._receive(request.what):
                if sequence != number:
                    continue
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                whole = self._data[start : start + length]
                if kind == NLMSG_ERROR:
                    _raise_error(whole[HEADER.size :], request.what)
                if kind == NLMSG_DONE:
                    return None if interrupted else found
                found.append(whole)

    def _answers(self, what: str) -> Iterator[tuple[int, int, bytes]]:
        while True:
            for start, length, kind, _, sequence in self._receive(what):
                yield sequence, kind, self._data[start + HEADER.size : start + length]

    def _receive(self, what: str) -> Iterator[tuple[int, int, int, int, int]]:
        """One datagram: offset, length, type, flags and sequence number of each message in it."""
        try:
            self._data, _, flags, _ = self.socket.recvmsg(RECEIVE_SIZE)
        except TimeoutError as error:
            raise NetlinkError(errno.ETIMEDOUT, what) from error
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, what) from error
        if flags & socket.MSG_TRUNC:
            raise NetlinkError(errno.EMSGSIZE, f"{what} (answer over {RECEIVE_SIZE} bytes)")
        return _messages(self._data)

    def _send(self, data: bytes, what: str) -> None:
        try:
            self.socket.send(data)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, what) from error

    def _number(self, message: bytes, flags: int = 0) -> tuple[int, bytes]:
        self._sequence += 1
        length, kind, own_flags, _, port = HEADER.unpack_from(message)
        header = HEADER.pack(length, kind, own_flags | flags, self._sequence, port)
        return self._sequence, header + message[HEADER.size :]


def attributes(data: bytes) -> dict[int, bytes]:
    """Netlink attributes by number; of one that occurs twice, the last. What is cut short ends it."""
    return dict(attribute_list(data))


def attribute_list(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Netlink attributes in order: number (without the nested and byte-order bits), content."""
    start = 0
    while start + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, start)
        if length < ATTRIBUTE.size:
            return
        yield kind & ATTRIBUTE_TYPE_MASK, data[start + ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3  # NLA_ALIGN


def attribute(kind: int, content: bytes) -> bytes:
    """One encoded netlink attribute, padded."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(content), kind) + content + bytes(-len(content) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, start)
        if length < HEADER.size or start + length > len(data):
            raise NetlinkError(errno.EBADMSG, "netlink answer with an impossible length")
        yield start, length, kind, flags, sequence
        start += (length + 3) & ~3  # NLMSG_ALIGN


def _raise_error(body: bytes, what: str) -> None:
    (code,) = ERROR.unpack_from(body)
    if code:
        raise NetlinkError(-code, what)


def _batch_mark(kind: int) -> bytes:
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, socket.htons(NFNL_SUBSYS_NFTABLES))
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST, 0, 0) + body
