"""Reason codes of the decision core: what each one means and what usually helps.

``policy`` imports nothing of ``supervisor``, so this is a tuple of its own with the same three
fields as ``supervisor.errors.Code``; ``sandbox-supervisor explain`` collects both. Findings about a
*document* have codes of their own; the pattern codes below appear in both places.
"""

from typing import NamedTuple

from policy.findings import PatternError


class Code(NamedTuple):
    """A stable reason code: its name, what it means, and what usually helps."""

    name: str
    meaning: str
    remedy: str


def refused(code: Code, cause: str) -> PatternError:
    """The error that says ``cause`` under ``code``, with the code's remedy."""
    return PatternError(code.name, cause, code.remedy)


# --- what was asked for cannot be read as a host -------------------------------------------------
HOST_EMPTY = Code(
    "policy.host-empty",
    "The host is empty, or one of its labels is (two dots in a row, a leading dot).",
    "Name the host in full: labels of 1 to 63 characters, separated by single dots.",
)
HOST_TOO_LONG = Code(
    "policy.host-too-long",
    "The host has more than 253 characters or a label of more than 63 (RFC 1035 section 2.3.4).",
    "No such name exists in DNS; correct the host.",
)
HOST_CONTROL = Code(
    "policy.host-control-character",
    "The host holds a control character or NUL; programs disagree on where such a name ends.",
    "Remove the character.",
)
HOST_SPACE = Code(
    "policy.host-space",
    "The host holds white space.",
    "Remove it; a host name has none.",
)
HOST_PERCENT = Code(
    "policy.host-percent",
    "The host holds a percent sign: an escape, or the zone of a link-local address.",
    "Write the name without escapes; link-local addresses are never reached.",
)
HOST_USERINFO = Code(
    "policy.host-userinfo",
    "The host holds '@': user information before the host hides the real destination.",
    "Give the host alone.",
)
HOST_DELIMITER = Code(
    "policy.host-delimiter",
    "The host holds a character that ends a host in a URL (/ \\ ? #), or has a port in it.",
    "Give the host alone, without scheme, path or port.",
)
HOST_BRACKET = Code(
    "policy.host-bracket",
    "Square brackets surround an IPv6 address and nothing else; something else is there.",
    "Write [2001:db8::1], with nothing before or behind it.",
)
HOST_NUMERIC = Code(
    "policy.host-numeric",
    "The host is a number that programs read as an IPv4 address (decimal, octal, hexadecimal, "
    "shortened): the same destination under a spelling that no rule would match.",
    "Write the address as four decimal numbers without leading zeros.",
)
HOST_DISGUISED_DIGITS = Code(
    "policy.host-disguised-digits",
    "The host holds characters that are turned into ASCII digits before a lookup (full-width, "
    "circled, superscript digits).",
    "Write ASCII digits.",
)
HOST_CHARACTER = Code(
    "policy.host-character",
    "A label holds a character that host names do not have, or begins or ends with a hyphen.",
    "Use letters, digits, hyphen and underscore; international names as IDNA 2008 allows them.",
)
HOST_IDNA = Code(
    "policy.host-idna",
    "An international label is not valid under IDNA 2008 (RFC 5891), or its xn-- form is not the "
    "canonical one.",
    "Use the form that the registry of the domain shows.",
)

# --- host patterns -------------------------------------------------------------------------------
PATTERN_HOST_BROAD = Code(
    "policy.pattern-host-broad",
    "A host pattern must end in two literal labels or more: *.com, *.co.uk or api.vendor.* would "
    "match names that anyone can register.",
    "Name the domain: *.example.com",
)
PATTERN_HOST_STAR = Code(
    "policy.pattern-host-star",
    "A star is where host patterns have none: '**' only as the whole first label, part of a label "
    "only in the first, and never in an address or an international (xn--) label.",
    "Write *.example.com, **.example.com, *-api.example.com or *.s3.*.example.com.",
)

# --- request targets -----------------------------------------------------------------------------
PATH_FORM = Code(
    "policy.path-form",
    "The request target is not a path that begins with '/' ('*' only for OPTIONS).",
    "Send the request in origin form.",
)
PATH_TOO_LONG = Code(
    "policy.path-too-long",
    "The path has more than 4096 bytes.",
    "Shorten it; data belongs in the query or the body.",
)
PATH_CHARACTER = Code(
    "policy.path-character",
    "The path holds a raw character that URLs do not have (control, space, non-ASCII, backslash, "
    "'?' or '#').",
    "Percent-encode it (RFC 3986 section 2.1).",
)
PATH_ESCAPE = Code(
    "policy.path-escape",
    "A percent sign in the path is not followed by two hexadecimal digits.",
    "Write %25 for a literal percent sign.",
)
PATH_CONTROL = Code(
    "policy.path-control-character",
    "The path holds an escaped control character or NUL.",
    "Remove it.",
)
PATH_UTF8 = Code(
    "policy.path-utf8",
    "The escapes of the path do not decode to valid UTF-8; servers guess differently.",
    "Encode the path as UTF-8.",
)
PATH_ENCODED_SLASH = Code(
    "policy.path-encoded-slash",
    "The path holds an escaped slash or backslash; servers disagree on whether it separates "
    "segments.",
    "If the API needs %2F, set allow_encoded_slash: true on the endpoint; %5C is never accepted.",
)
PATH_DOUBLE_ENCODING = Code(
    "policy.path-double-encoding",
    "The path is escaped twice (%25 before 2e, 2f, 5c, 25 or 00); a server that decodes twice "
    "would see another path.",
    "Escape once.",
)
PATH_ABOVE_ROOT = Code(
    "policy.path-above-root",
    "Dot segments lead above the root of the path.",
    "Remove the '..' segments.",
)
PATH_AMBIGUOUS_DOTS = Code(
    "policy.path-ambiguous-dots",
    "A segment is a dot segment for one server and a name for another ('..;x', '..%2F').",
    "Resolve dot segments before sending.",
)
QUERY_ESCAPE = Code(
    "policy.query-escape",
    "The query holds a bad escape, an escaped NUL, or bytes that are not UTF-8.",
    "Percent-encode the query as UTF-8.",
)
QUERY_CHARACTER = Code(
    "policy.query-character",
    "The query holds a raw character that URLs do not have (control, space, non-ASCII, '#').",
    "Percent-encode it.",
)
QUERY_TOO_LONG = Code(
    "policy.query-too-long",
    "The query has more than 16384 bytes or more than 1024 fields.",
    "Send that much data in the body.",
)
METHOD_INVALID = Code(
    "policy.method-invalid",
    "The method is not 1 to 32 upper-case letters, digits, hyphens or underscores. Methods are "
    "case-sensitive (RFC 9110 section 9.1), but not every server thinks so.",
    "Send the method in upper case.",
)
METHOD_REFUSED = Code(
    "policy.method-refused",
    "TRACE echoes what a proxy adds, and CONNECT opens a tunnel inside the tunnel: no rule allows "
    "them, not even '*'.",
    "Use another method; open tunnels through the supervisor's own proxy.",
)

# --- path and value patterns ---------------------------------------------------------------------
PATTERN_EMPTY = Code(
    "policy.pattern-empty",
    "The pattern is empty.",
    "Write what to match; '**' matches every path, '*' every value.",
)
PATTERN_TOO_LONG = Code(
    "policy.pattern-too-long",
    "The pattern is longer than what it is matched against can be.",
    "Shorten it.",
)
PATTERN_PATH_FORM = Code(
    "policy.pattern-path-form",
    "A path pattern begins with '/' or is '**'.",
    "Begin it with '/'.",
)
PATTERN_SYNTAX = Code(
    "policy.pattern-syntax",
    "The pattern uses glob syntax that this dialect does not have: ? [ ] { } \\ and '!' forms mean "
    "different things in different tools.",
    "Use '*' and '**'; write alternatives as separate rules, and the query under 'query:'.",
)
PATTERN_DOUBLE_STAR = Code(
    "policy.pattern-double-star",
    "'**' stands for whole segments and must be one by itself.",
    "Write /a/** or /a/**/b; inside a segment write a single '*'.",
)
PATTERN_NEVER_MATCHES = Code(
    "policy.pattern-never-matches",
    "The pattern can match nothing: what it is compared with is always in canonical form, and the "
    "pattern is not (dot segments, empty segments, needless escapes, path parameters).",
    "Write the canonical form that the message shows.",
)

# --- addresses -----------------------------------------------------------------------------------
ADDRESS_ALLOWED = Code(
    "policy.address-allowed",
    "The address may be dialled.",
    "Nothing to do.",
)
ADDRESS_NONE = Code(
    "policy.address-none",
    "The name has no address.",
    "Check the name and the resolver.",
)
ADDRESS_NEVER = Code(
    "policy.address-never",
    "The address is loopback, link-local, unspecified, multicast, reserved or otherwise no "
    "destination, itself or by the IPv4 address inside it. No policy opens it.",
    "None: use another destination. A service of the container itself is reached over loopback "
    "directly, not through egress.",
)
ADDRESS_METADATA = Code(
    "policy.address-metadata",
    "The address is a cloud's metadata or credential service. No policy opens it.",
    "Give the workload the one credential it needs instead.",
)
ADDRESS_SYNTHETIC = Code(
    "policy.address-synthetic",
    "The address belongs to the pools that the supervisor's own DNS answers from.",
    "None: these addresses lead back into the sandbox.",
)
ADDRESS_INTERNAL = Code(
    "policy.address-internal",
    "The address is not on the public internet (private, shared, documentation, unallocated), and "
    "the rule does not open it.",
    "Name the host exactly instead of by a wildcard, or list the network under allowed_ips.",
)
ADDRESS_NOT_LISTED = Code(
    "policy.address-not-listed",
    "The endpoint has allowed_ips, or its host is an address, and this address is not among them.",
    "Add the network to allowed_ips if the destination is meant.",
)
ADDRESS_NOT_GATEWAY = Code(
    "policy.address-not-gateway",
    "A name of the host gateway resolved to an address that is not the gateway's.",
    "Check the container's hosts file.",
)
CONTROL_PLANE_PORT = Code(
    "policy.control-plane-port",
    "The port is one of a cluster's control plane (2379, 2380, 6443, 10250, 10255). No policy "
    "opens it.",
    "Reach the API through a proxy or gateway on another port.",
)
NETWORK_FORBIDDEN = Code(
    "policy.network-forbidden",
    "allowed_ips names a network that is never dialled, or holds one.",
    "List only the networks of the destination.",
)

# --- decisions: connections ----------------------------------------------------------------------
ALLOWED = Code(
    "policy.allowed",
    "An entry of the policy names this host, port and program.",
    "Nothing to do.",
)
NO_NETWORK = Code(
    "policy.no-network",
    "The policy has no network_policies: nothing is reachable.",
    "Add an entry under network_policies.",
)
HOST_NOT_ALLOWED = Code(
    "policy.host-not-allowed",
    "No entry of the policy names this host.",
    "Add an endpoint for the host.",
)
PORT_NOT_ALLOWED = Code(
    "policy.port-not-allowed",
    "The policy names the host, but not this port.",
    "Add the port to the endpoint.",
)
PORT_INVALID = Code(
    "policy.port-invalid",
    "The port is not a number from 1 to 65535.",
    "Correct the port.",
)
BINARY_NOT_ALLOWED = Code(
    "policy.binary-not-allowed",
    "The policy names the host and port, but neither this program nor one of its ancestors may use "
    "them. Host and program must be in the same entry.",
    "Add the program to the binaries of the entry.",
)
BINARY_DIGEST = Code(
    "policy.binary-digest",
    "The program is listed, but its SHA-256 is not among those that the policy pins.",
    "If the change is legitimate, add the new digest.",
)
CALLER_UNKNOWN = Code(
    "policy.caller-unknown",
    "It is not known which program asks, and the entry is for certain programs only.",
    "Name the program (--binary), or find out why the lookup failed.",
)
CALLER_VANISHED = Code(
    "policy.caller-vanished",
    "The process that opened the connection was gone before it could be identified.",
    "Keep the process alive until the connection is established.",
)
CALLER_UNREADABLE = Code(
    "policy.caller-unreadable",
    "The program of the process that opened the connection could not be read.",
    "Make the binary readable to the supervisor.",
)
CALLER_OVER_BUDGET = Code(
    "policy.caller-over-budget",
    "Finding the process that opened the connection took longer than the time set for it.",
    "Try again; many processes or descriptors slow the search.",
)
CALLER_CHANGED = Code(
    "policy.caller-changed",
    "The program's file is not the one that was first seen under this path.",
    "Restart the sandbox if the change is legitimate, or pin digests in the policy.",
)
HOLDERS_DIFFER = Code(
    "policy.holders-differ",
    "Several processes hold the connection, and the policy grants them different things.",
    "Let one program open the connection by itself, or list both in one entry.",
)
AMBIGUOUS = Code(
    "policy.ambiguous",
    "Two endpoints match, and their allowed_ips differ: which one holds cannot be told.",
    "Give both endpoints the same allowed_ips.",
)
NOT_ENFORCED = Code(
    "policy.not-enforced",
    "The endpoint asks for an inspection that this version does not do, and the policy does not "
    "accept that.",
    "Remove the protocol from the endpoint to allow the connection uninspected, or list the "
    "feature under supervisor.accept.",
)
EVALUATOR_ERROR = Code(
    "policy.evaluator-error",
    "The decision itself failed; that is a denial.",
    "This is a defect of the supervisor: report it with the policy and the request.",
)

# --- decisions: requests -------------------------------------------------------------------------
REQUEST_ALLOWED = Code(
    "policy.request-allowed",
    "A rule of the endpoint allows this request.",
    "Nothing to do.",
)
REQUEST_UNINSPECTED = Code(
    "policy.request-uninspected",
    "The endpoint has no protocol: every request over it is allowed.",
    "Set protocol: rest and rules to restrict the requests.",
)
REQUEST_NOT_ALLOWED = Code(
    "policy.request-not-allowed",
    "No rule of the endpoint allows this method, path and query.",
    "Add an allow rule.",
)
REQUEST_DENIED = Code(
    "policy.request-denied",
    "A deny rule matches this request; deny rules win over allow rules.",
    "Narrow or remove the deny rule.",
)
NO_ROUTE = Code(
    "policy.no-route",
    "The path belongs to no endpoint of this host and port; audit mode does not change that.",
    "Add an endpoint whose path covers it.",
)


def catalogue() -> dict[str, Code]:
    """Every code of this module by name."""
    return {value.name: value for value in globals().values() if isinstance(value, Code)}
