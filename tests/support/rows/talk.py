"""How the rows talk, and in which words they say what came of it."""

import contextlib
import errno
import json
import os
import socket
import ssl
import struct
import time

ZONE = "upstream.example"
ECHO, SKIP, CURL_ONLY, OTHER = (f"{one}.{ZONE}" for one in ("echo", "skip", "curl-only", "other"))
FOREIGN, FOREIGN_V6 = "203.0.113.5", "2001:db8::5"
GATEWAY, GATEWAY_V6 = "198.51.100.1", "2001:db8:51::1"
PROXY = ("127.0.0.1", 61080)
RESOLVER = ("198.51.100.1", 53)
PATIENCE_S = 8.0
# What every refusal answers at once, because it is told in the client's own protocol.
PROBE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# What never may be seen outside, and what must be: the test listens there.
SMUGGLED, ALLOWED = b"smuggled-out", b"allowed-out"
SMUGGLING = b"GET /" + SMUGGLED + b" HTTP/1.1\r\nHost: x\r\n\r\n"
ROWS = {}


def row(function):
    ROWS[function.__name__] = function
    return function


def ends(function):
    """What a call came to: its result, or the errno's name."""
    try:
        return function()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def dial(host, port, family=socket.AF_UNSPEC):
    for kind, _, _, _, address in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM):
        sock = socket.socket(kind, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        sock.connect(address)
        return sock
    raise OSError(errno.ENOENT, "no address")


def wish(what):
    """Ask the test for something that only the outside can do, and wait until it is done."""
    with open("wish.new", "w") as file:
        file.write(what)
    os.rename("wish.new", "wish")
    end = time.monotonic() + 30
    while os.path.exists("wish"):
        if time.monotonic() > end:
            raise TimeoutError(f"nobody grants {what!r}")
        yield


def talk(host, port, data=PROBE, family=socket.AF_UNSPEC):
    """Connect, send, and tell what came back first."""

    def attempt():
        with dial(host, port, family) as sock:
            sock.sendall(data)
            return shown(sock.recv(4096))

    return ends(attempt)


def shown(data):
    if not data:
        return "closed"
    if data[0] == 0x15 and len(data) >= 7:
        return f"alert {data[6]}"
    if data[0] == 0x16:
        return "server hello"
    if data.startswith((b"HTTP/1.1 403", b"HTTP/1.1 502")):
        return json.loads(data.partition(b"\r\n\r\n")[2])["code"]
    return "echoed" if data == PROBE else data.decode("latin-1")


def hello(name, version=None):
    """The bytes of a TLS hello for ``name`` (None: no SNI)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname=name).do_handshake()
    return sent.read()


def tls(host, name, port=443):
    return talk(host, port, hello(name))


def ask(name, kind=1, server=RESOLVER, wire=None):
    """One DNS question over UDP: (rcode, addresses as text)."""
    labels = name if isinstance(name, list) else [part.encode() for part in name.split(".")]
    encoded = b"".join(bytes([len(part)]) + part for part in labels) + b"\0"
    query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + encoded + struct.pack("!HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(server)
        sock.send(query if wire is None else wire)
        answer = sock.recv(4096)
    return {"rcode": answer[3] & 15, "answers": int.from_bytes(answer[6:8], "big")}


def datagram(protocol, address, kind=socket.SOCK_DGRAM):
    def attempt():
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(1)
            sock.connect(address)
            sock.send(b"data")
            return shown(sock.recv(100))

    return ends(attempt)


def through_proxy(target, method="CONNECT"):
    def attempt():
        with socket.create_connection(PROXY, PATIENCE_S) as sock:
            line = target if isinstance(target, bytes) else target.encode("utf-8")
            sock.sendall(
                method.encode() + b" " + line + b" HTTP/1.1\r\nHost: " + line + b"\r\n\r\n"
            )
            return sock.recv(65536).split(b"\r\n")[0].decode("latin-1")

    return ends(attempt)
