"""attacks.md J1, I2: an entry that reaches further than it reads is told at load, and not refused."""

import pytest
from support.loading import findings_of

ENTRY = """version: 1
network_policies:
  one:
    endpoints: [{{host: api.example.com, port: 443{skip}}}]
    binaries: [{{path: {binary}}}]
  two:
    endpoints: [{{host: other.example.com, port: 443{skip}}}]
    binaries: [{{path: {binary}}}, {{path: /opt/agent}}]
"""


def told(binary, skip=""):
    found = findings_of(ENTRY.format(binary=binary, skip=skip))
    assert {finding.severity for finding in found} <= {"warning"}
    return [(finding.code, finding.line, finding.message) for finding in found]


@pytest.mark.parametrize(
    "binary",
    ["/usr/bin/python3.11", "/usr/bin/node", "/bin/sh", "/usr/bin/bash", "/usr/bin/perl",
     "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1", "/usr/lib/jvm/*/bin/java"],
)  # fmt: skip
def test_an_interpreter_is_named_once_where_it_is_first(binary):
    ((code, line, message),) = told(binary)

    assert (code, line) == ("policy.interpreter", 5)
    assert message.startswith(f"{binary}: ")


@pytest.mark.parametrize(
    "binary", ["/usr/bin/curl", "/usr/bin/pythonista", "/usr/bin/nodejs-agent"]
)
def test_a_program_of_its_own_is_not(binary):
    assert told(binary) == []


def test_a_tunnel_that_is_not_looked_into_is_told():
    ((code, line, message),) = told("/usr/bin/curl", ", tls: skip")

    assert (code, line) == ("policy.opaque-tunnel", 4)
    assert message.startswith("api.example.com, other.example.com: ")
