"""Reason codes of the settings about what lies between egress and the world."""

from supervisor.errors import Code

PROXY_INVALID = Code(
    "upstream.proxy-invalid",
    "--upstream-proxy is not the address of a proxy.",
    "Write http://HOST:PORT; user and password belong into the file of --upstream-proxy-credentials.",
)
NO_PROXY_INVALID = Code(
    "upstream.no-proxy-invalid",
    "--no-proxy holds an entry that has no single meaning.",
    "Entries are names, .domains (all names below), addresses and CIDRs, separated by commas.",
)
WITHOUT_PROXY = Code(
    "upstream.without-proxy",
    "A setting about the proxy was given, but no proxy.",
    "Add --upstream-proxy, or leave the setting out.",
)
CREDENTIALS_MISSING = Code(
    "upstream.credentials-missing",
    "The file of --upstream-proxy-credentials cannot be opened.",
    "Check the path as the container sees it, and the mount that brings it there.",
)
CREDENTIALS_UNTRUSTED = Code(
    "upstream.credentials-untrusted",
    "Others than root can read or write the file of --upstream-proxy-credentials, or the image made it.",
    "Mount it read-only from outside, owned by root, mode 0400; in Kubernetes use a sidecar pod "
    "('manifest --upstream-proxy-secret'): an fsGroup would open it to the workload.",
)
CREDENTIALS_INVALID = Code(
    "upstream.credentials-invalid",
    "The file of --upstream-proxy-credentials does not hold one line user:password.",
    "Write user, colon, password, in UTF-8; nothing else.",
)
SIDECARS = Code(
    "upstream.sidecars",
    "With --mode network-only the sidecar reaches the world, and what lies between is its to know.",
    "Give proxy and name servers to 'sidecar', and not to this container.",
)
RESOLVER_INVALID = Code(
    "upstream.resolver-invalid",
    "--resolver does not name name servers by their addresses.",
    "Write one to three IP addresses, separated by commas.",
)
