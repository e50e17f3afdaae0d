"""Rows I: TLS hellos."""

import socket
import ssl
import struct
import time

from talk import ECHO, FOREIGN, GATEWAY, OTHER, SKIP, dial, ends, hello, row, shown, talk, tls


@row
def i1_an_allowed_name_at_another_address():
    return {"found": [tls(FOREIGN, ECHO), tls(GATEWAY, ECHO)], "paired": tls(ECHO, ECHO)}


@row
def i2_a_name_behind_another():
    return {"found": tls(ECHO, OTHER), "opaque": tls(SKIP, OTHER), "paired": tls(ECHO, ECHO)}


def with_names(*names):
    """A hello whose server_name extension lists several names (RFC 6066 section 3)."""
    plain = hello("x" * 60 + ".example")
    entry = b"\0" + struct.pack("!H", 68) + b"x" * 60 + b".example"
    assert entry in plain
    entries = b"".join(b"\0" + struct.pack("!H", len(name)) + name for name in names)
    at = plain.index(entry)
    old, new = len(entry), len(entries)
    body = bytearray(plain[: at - 4] + struct.pack("!HH", new + 2, new) + entries)
    body += plain[at + old :]
    grown = new - old
    for offset, size in ((3, 2), (6, 3), (extensions_at(plain), 2)):
        length = int.from_bytes(plain[offset : offset + size], "big") + grown
        body[offset : offset + size] = length.to_bytes(size, "big")
    return bytes(body)


def extensions_at(plain):
    """Where the length of the extensions stands (RFC 8446 section 4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + plain[at]
    at += 2 + int.from_bytes(plain[at : at + 2], "big")
    return at + 1 + plain[at]


@row
def i3_odd_names():
    return {
        "none": talk(ECHO, 443, hello(None)),
        "address": talk(ECHO, 443, with_names(b"198.51.100.1")),
        "two": talk(ECHO, 443, with_names(ECHO.encode(), OTHER.encode())),
        "dot": talk(ECHO, 443, with_names(ECHO.encode() + b".")),
        "case": talk(ECHO, 443, with_names(ECHO.upper().encode())),
        "underscore": talk(ECHO, 443, with_names(b"_" + ECHO.encode())),
        "nul": talk(ECHO, 443, with_names(ECHO.encode() + b"\0x")),
        "paired": talk(ECHO, 443, with_names(ECHO.encode())),
    }


@row
def i5_hellos_in_pieces():
    whole = hello(ECHO)

    def by_segments(size, data=whole, pause_s=0.002):
        def attempt():
            with dial(ECHO, 443) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(data), size):
                    sock.sendall(data[start : start + size])
                    time.sleep(pause_s)
                return shown(sock.recv(100))

        return ends(attempt)

    def in_records(size, data):
        body = data[5:]
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        return b"".join(data[:3] + struct.pack("!H", len(piece)) + piece for piece in pieces)

    other = hello(OTHER)
    return {
        "bytes": by_segments(1),
        "records": talk(ECHO, 443, in_records(64, whole)),
        "other by bytes": by_segments(1, other),
        "other in records": talk(ECHO, 443, in_records(64, other)),
        "tls 1.0": talk(ECHO, 443, hello(OTHER, ssl.TLSVersion.TLSv1)),
        "sslv2": talk(ECHO, 443, b"\x80\x2e\x01\x00\x02" + bytes(43)),
        "junk": talk(ECHO, 443, b"\x16\x03\x01\xff\xff" + b"\xff" * 600),
        "starttls": talk(ECHO, 7, b"STARTTLS\r\n"),
    }
