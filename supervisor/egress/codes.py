"""Every reason for which egress refuses; ``explain`` prints them, replies and events carry them."""

from supervisor.errors import Code

_TRAFFIC = (
    "The program sent something that two readers could understand differently; see the cause."
)

# --- names and addresses
NAME_UNKNOWN = Code(
    "egress.name-unknown",
    "The address is one of the sandbox's invented ones, but stands for no name any more.",
    "Resolve the name again; an address is valid for an hour after its last answer.",
)
NAME_INVALID = Code(
    "egress.name-invalid",
    "The destination is neither a host name nor an address in its one canonical spelling.",
    "Use a plain ASCII host name, or an address as inet_ntop(3) writes it.",
)
NAME_REFUSED = Code(
    "egress.name-refused",
    "A name was asked for that no rule of the policy can need, so it was not resolved.",
    "Add an endpoint for the host to the policy; 'policy explain' shows the smallest change.",
)
NAME_BUDGET = Code(
    "egress.name-budget",
    "Too many different names, or too long ones, were looked up under one wildcard.",
    "State the names exactly in the policy, or try again in a minute.",
)
RESOLVE_FAILED = Code(
    "egress.resolve-failed",
    "The policy allows the name, but no upstream name server gave an address for it.",
    "Check the name and the container's resolv.conf; 'doctor' queries each server.",
)
ADDRESS_LOCAL = Code(
    "egress.address-local",
    "The name resolves to an address of egress' own network namespace, or to a synthetic one.",
    "No policy can allow this; give the service an address of its own.",
)
# --- who asks
# --- decision and dialling
POLICY_DENIED = Code(
    "egress.policy-denied",
    "No rule of the policy allows this program to reach this destination.",
    "Add an endpoint and the program's binary to one entry of network_policies.",
)
POLICY_CHANGED = Code(
    "egress.policy-changed",
    "The policy changed while the connection was open, and no longer allows it.",
    "Ask for the destination to be allowed again.",
)
UPSTREAM_UNREACHABLE = Code(
    "egress.upstream-unreachable",
    "The destination is allowed, but none of its addresses took the connection.",
    "Check that the service runs and is reachable from the container's network.",
)
UPSTREAM_PROXY_UNREACHABLE = Code(
    "egress.upstream-proxy-unreachable",
    "The destination is allowed, but the proxy of --upstream-proxy could not be reached.",
    "Check its address and that the container's network reaches it; --no-proxy names what goes directly.",
)
UPSTREAM_PROXY_DENIED = Code(
    "egress.upstream-proxy-denied",
    "The destination is allowed here, but the proxy of --upstream-proxy did not open a tunnel to it.",
    "Status 407 means that the credentials are missing or wrong (--upstream-proxy-credentials); where "
    "the proxy accepts names only, say --upstream-proxy-names; else ask whoever runs it.",
)
UPSTREAM_PROXY_INVALID = Code(
    "egress.upstream-proxy-invalid",
    "The proxy of --upstream-proxy answered with something that is no short, strict HTTP/1 answer.",
    "Check that the address is an HTTP proxy's; nothing of the answer was passed on.",
)
UPSTREAM_TIMEOUT = Code(
    "egress.upstream-timeout",
    "The destination took the connection, but did not answer in time.",
    "Try again; the limit is in 'status'.",
)
UPSTREAM_INVALID = Code(
    "egress.upstream-invalid",
    "The destination answered with something that is not unambiguous HTTP/1.",
    "Report it to the service; nothing of the answer was passed on.",
)
OVERLOADED = Code(
    "egress.overloaded",
    "Egress has reached a limit (connections, descriptors, questions) and sheds new work.",
    "Close idle connections and try again; 'status' names the limit.",
)
TOO_SLOW = Code(
    "egress.too-slow",
    "The client did not finish its request or its TLS hello in time.",
    "Send the request at once; the limit is in 'status'.",
)
# --- TLS without inspection
TLS_NAME_MISMATCH = Code(
    "egress.tls-name-mismatch",
    "The server name in the TLS hello is not the name that was resolved or dialled.",
    "Connect to the name that you ask for; a shared front needs 'tls: skip' at its endpoint.",
)
TLS_NAME_MISSING = Code(
    "egress.tls-name-missing",
    "The TLS hello carries no server name, so it cannot be compared with the rule's.",
    "Let the program send SNI, or declare the endpoint opaque with 'tls: skip'.",
)
TLS_HELLO_INVALID = Code(
    "egress.tls-hello-invalid",
    "The first bytes are a TLS hello that no strict reader accepts; the cause says where.",
    "Use a current TLS library, or declare the endpoint opaque with 'tls: skip'.",
)
TLS_ECH = Code(
    "egress.tls-ech-refused",
    "The TLS hello hides a second server name (ECH), and the endpoint says 'ech: refuse'.",
    "Turn ECH off in the program, or drop 'ech: refuse' from the endpoint.",
)
# --- HTTP
HTTP_SYNTAX = Code(
    "egress.http-syntax", "The request's head is not HTTP/1 as RFC 9112 writes it.", _TRAFFIC
)
HTTP_TOO_LARGE = Code(
    "egress.http-too-large",
    "The request's head is larger than any program needs.",
    "Send fewer or shorter headers (cookies are the usual cause).",
)
HTTP_VERSION = Code(
    "egress.http-version",
    "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
    "Let the program use HTTP/1.1 on plain connections.",
)
HTTP_HOST = Code(
    "egress.http-host", "The request has no Host, several, or one that is no host name.", _TRAFFIC
)
HTTP_HOST_MISMATCH = Code(
    "egress.http-host-mismatch",
    "The request names another host than the connection was opened to.",
    "Open a connection to the host that the request is for.",
)
HTTP_FRAMING = Code(
    "egress.http-framing",
    "Where the request's body ends can be understood in two ways.",
    "Send either one Content-Length or 'Transfer-Encoding: chunked', never both.",
)
HTTP_TARGET = Code(
    "egress.http-target",
    "The request's target has a form that does not fit this listener.",
    "Send absolute-form or CONNECT to the proxy's port; origin-form to port 80.",
)
HTTP_METHOD = Code(
    "egress.http-method",
    "The method is refused whatever the policy says (TRACE, or CONNECT inside a connection).",
    "Use another method.",
)
HTTP_SCHEME = Code(
    "egress.http-scheme",
    "An absolute-form request may only be for http.",
    "Reach https with CONNECT, or without a proxy setting.",
)
HTTP_EXPECT = Code(
    "egress.http-expect",
    "The request expects something other than 100-continue.",
    "Leave the Expect header out.",
)
HTTP_UPGRADE = Code(
    "egress.http-upgrade",
    "The rule does not allow this connection to change to another protocol.",
    "Allow WebSocket at the endpoint, or use requests only.",
)
# --- inspection
INSPECTION_UNAVAILABLE = Code(
    "egress.inspection-unavailable",
    "The endpoint asks for each request to be judged, which this version does for plain HTTP only.",
    "For a decision by connection drop 'protocol' and its rules, or list 'request-rules' under "
    "'supervisor: accept'; or use plain HTTP.",
)
