"""Build ClientHello bytes by hand: what no TLS library would send has to be sendable here."""

SERVER_NAME = 0
ALPN = 16
ECH = 0xFE0D


def vector(width, content):
    return len(content).to_bytes(width, "big") + content


def extension(number, content):
    return number.to_bytes(2, "big") + vector(2, content)


def server_name(*names, name_type=0):
    entries = b"".join(bytes([name_type]) + vector(2, name) for name in names)
    return extension(SERVER_NAME, vector(2, entries))


def alpn(*offers):
    return extension(ALPN, vector(2, b"".join(vector(1, offer) for offer in offers)))


def hello_message(*extensions, session=b"", suites=b"\x13\x01", tail=b""):
    body = b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, suites) + vector(1, b"\0")
    if extensions:
        body += vector(2, b"".join(extensions))
    body += tail
    return b"\x01" + len(body).to_bytes(3, "big") + body


def records(message, *, size=1 << 14, minor=1):
    return b"".join(
        bytes([0x16, 3, minor]) + vector(2, message[at : at + size])
        for at in range(0, len(message), size)
    )


def client_hello(name=b"api.example.com"):
    """A complete, ordinary hello for one name."""
    return records(hello_message(server_name(name), alpn(b"h2", b"http/1.1")))
