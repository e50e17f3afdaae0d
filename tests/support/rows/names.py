"""Rows F: names."""

from talk import ECHO, GATEWAY, ZONE, ask, ends, row, talk


@row
def f1_labels_of_a_refused_name():
    return {"found": [ask(f"secret{number}.evil.example") for number in range(20)]}


@row
def f3_other_types():
    kinds = {"TXT": 16, "NULL": 10, "ANY": 255, "HTTPS": 65, "SVCB": 64, "MX": 15, "SRV": 33}
    return {name: ask(ECHO, kind) for name, kind in kinds.items()}


@row
def f5_other_resolvers():
    servers = ("127.0.0.53", "127.0.0.11", "8.8.8.8", "169.254.169.253", GATEWAY)
    return {server: ask("unnamed.example", server=(server, 53)) for server in servers}


@row
def f6_rebinding():
    names = ("rebind", "mixed", "loop", "mapped", "private.public")
    return {name: talk(f"{name}.{ZONE}", 443) for name in names}


@row
def f2_labels_under_a_wildcard():
    """Asking tells nobody. Connecting does, a bounded number of times."""
    paired = talk(f"wide.public.{ZONE}", 7)
    names = [f"secret{number}.public.{ZONE}" for number in range(90)]
    asked = {ask(name)["rcode"] for name in names}
    found = [talk(name, 7) for name in names]
    return {"asked": sorted(asked), "found": sorted(set(found)), "paired": paired}


@row
def f9_spellings():
    odd = {
        "case": [b"EcHo", b"upstream", b"EXAMPLE"],
        "nul": [b"echo\0x", b"upstream", b"example"],
        "control": [b"echo\x1b", b"upstream", b"example"],
        "space": [b"echo ", b"upstream", b"example"],
        "dot inside": [b"echo.upstream", b"example"],
        "percent": [b"echo%00", b"upstream", b"example"],
        "suffix": [b"echo", b"upstream", b"example", b"evil"],
        "utf-8": ["écho".encode(), b"upstream", b"example"],
    }
    found = {name: ask(labels) for name, labels in odd.items()}
    head = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0"
    found["64 bytes"] = ends(lambda: ask("", wire=head + b"\x40" + b"a" * 64 + b"\0\0\1\0\1"))
    found["loop"] = ends(lambda: ask("", wire=head + b"\xc0\x0c\0\1\0\1"))
    found["trailing dot"] = talk(ECHO + ".", 7)
    return found


@row
def f10_search_domains():
    return {"own": talk("echo", 7), "paired": talk(ECHO, 7)}
