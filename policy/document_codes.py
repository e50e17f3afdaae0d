"""Every code that the loader gives to a finding, with its meaning and what usually helps.

``sandbox-supervisor explain CODE`` prints them. A finding's own remedy is more precise.
"""

from policy.codes import Code

# --- the document: is this text at all, and one reading of it only ------------------------------

EMPTY = Code(
    "policy.empty",
    "The policy file holds nothing.",
    "Write 'version: 1'; a policy of that line alone allows no network. To run without a policy "
    "file, name none.",
)
TOO_LARGE = Code(
    "policy.too-large",
    "The document, or what its aliases expand to, is larger than any sound policy.",
    "Split the rules over wildcards or presets.",
)
TOO_DEEP = Code(
    "policy.too-deep",
    "Lists and maps are nested deeper than any sound policy.",
    "Remove the nesting.",
)
NOT_TEXT = Code(
    "policy.not-text",
    "The document is not plain UTF-8 text: a byte-order mark, a NUL, or bytes that are no UTF-8.",
    "Save it as UTF-8 without a byte-order mark.",
)
SYNTAX = Code(
    "policy.syntax",
    "The document is not YAML.",
    "Correct the syntax at this place; a word that begins with * & ! % @ or ` needs quotes.",
)
DUPLICATE_KEY = Code(
    "policy.duplicate-key",
    "One map states the same key twice; which one counts would depend on the reader.",
    "Keep one of them.",
)
TAG = Code(
    "policy.tag",
    "A YAML tag or directive changes how values are read.",
    "Remove it; quote a word that begins with '!'.",
)
MERGE_KEY = Code(
    "policy.merge-key",
    "The merge key '<<' is read differently by different readers.",
    "Write the keys out.",
)
KEY = Code(
    "policy.bad-key",
    "A key is not a plain word: it is a list, a map, empty, or holds unprintable characters.",
    "Write a short name.",
)
MANY_DOCUMENTS = Code(
    "policy.many-documents",
    "The file holds more than one YAML document.",
    "Keep one document per file.",
)

# --- the shape: known keys, right kinds ---------------------------------------------------------

UNKNOWN_KEY = Code(
    "policy.unknown-key",
    "The key is not one of the policy language's at this place; spelling and case count.",
    "Correct or remove it.",
)
MISSING_KEY = Code("policy.missing-key", "A key that must be stated is not.", "State it.")
WRONG_KIND = Code(
    "policy.wrong-kind",
    "The value is of another kind (text, number, true/false, list, map) than its key asks for.",
    "Write the kind that the message names; quote text that reads like a number or a boolean.",
)
UNKNOWN_WORD = Code(
    "policy.unknown-word",
    "The value is not one of the words that its key allows; spelling and case count.",
    "Write one of the words that the message lists.",
)
OUT_OF_RANGE = Code(
    "policy.out-of-range",
    "A number, a text or a list is smaller or larger than its key allows.",
    "Stay within the bounds that the message names.",
)
UNPRINTABLE = Code(
    "policy.unprintable",
    "A text holds control or invisible characters.",
    "Remove them.",
)
TOO_MANY_FINDINGS = Code(
    "policy.too-many-findings",
    "The document has more findings than are reported.",
    "Correct the ones reported and check again.",
)

# --- the static half ----------------------------------------------------------------------------

BAD_PATH = Code(
    "policy.bad-path",
    "A file system path is not absolute, holds '..', or names the root where it may not.",
    "Write an absolute path without '..'.",
)
PATH_OVERLAP = Code(
    "policy.path-overlap",
    "A read-only path lies inside a read-write one. Landlock only adds rights going down the tree, "
    "so the path would stay writable.",
    "Name the writable directories beside it instead of the one around both.",
)
BAD_IDENTITY = Code(
    "policy.bad-identity",
    "run_as_user or run_as_group is neither 'sandbox' nor a number from 1 to 4294967294.",
    "Write 'sandbox' or a number in plain decimal digits.",
)
CONTRADICTION = Code(
    "policy.contradiction",
    "Two statements of the policy exclude each other.",
    "Keep one of them.",
)

# --- the network half ---------------------------------------------------------------------------

HOST_OR_ADDRESSES = Code(
    "policy.no-destination",
    "An endpoint names neither a host nor addresses, or no port, or ports in two ways.",
    "State 'host' (or 'allowed_ips' for any name that resolves to them) and either 'port' or "
    "'ports'.",
)
NETWORK_SYNTAX = Code(
    "policy.network-syntax",
    "An entry of allowed_ips is neither an address nor a network in CIDR form.",
    "Write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32, with no bits set behind the prefix.",
)
NETWORK_WIDE = Code(
    "policy.network-wide",
    "An entry of allowed_ips is very wide.",
    "List the networks of the destination only.",
)
INTERPRETER = Code(
    "policy.interpreter",
    "A listed binary runs whatever it is given, so that the entry holds for every script.",
    "List a compiled program instead, or keep the entry's endpoints as narrow as for any script.",
)
OPAQUE_TUNNEL = Code(
    "policy.opaque-tunnel",
    "With 'tls: skip' the name in the handshake is not compared, so that any name behind the same "
    "addresses is reached.",
    "Leave 'tls' out unless the handshake cannot be read.",
)
RULES_WITHOUT_PROTOCOL = Code(
    "policy.rules-without-protocol",
    "The endpoint states how requests are judged, but no protocol by which they could be read; "
    "taken as written it would allow every request.",
    "State the protocol (rest, websocket, graphql, json-rpc, mcp), or remove these keys to allow "
    "the whole connection.",
)
RULES_MISSING = Code(
    "policy.rules-missing",
    "The endpoint states a protocol and nothing that is allowed by it, so nothing would be.",
    "Add 'rules' or 'access'.",
)
KEY_NOT_FOR_PROTOCOL = Code(
    "policy.key-not-for-protocol",
    "The key has no meaning for the endpoint's protocol and would be ignored.",
    "Remove the key, or correct the protocol.",
)
NEVER_MATCHES = Code(
    "policy.rule-never-matches",
    "A rule, an endpoint or an entry can never apply to anything.",
    "Correct or remove it.",
)
BROAD_TOOL_RULE = Code(
    "policy.broad-tool-rule",
    "A rule for tools/call without a tool stands beside rules for single tools and makes them "
    "meaningless.",
    "Keep either kind.",
)
RESERVED_NAME = Code(
    "policy.reserved-name",
    "Entry names that begin with '_provider_' belong to credential providers.",
    "Choose another name.",
)
AMBIGUOUS = Code(
    "policy.ambiguous-endpoints",
    "Two endpoints can apply to the same connection or request of the same program and say "
    "different things about how it is handled.",
    "Make their settings agree, or their hosts, ports, paths or programs differ.",
)
DIGEST_SYNTAX = Code(
    "policy.digest-syntax",
    "A SHA-256 digest is not 64 lower-case hexadecimal digits.",
    "Write what sha256sum prints.",
)
PRESET_ENTRY = Code(
    "policy.preset-entry",
    "An entry of the policy has the name of an entry that an included preset brings.",
    "Rename the entry.",
)
DEPRECATED = Code(
    "policy.deprecated",
    "The word is accepted for files of the reference and means less than it says.",
    "Remove it.",
)
UNUSUAL_METHOD = Code(
    "policy.unusual-method",
    "The method is none of the well-known ones.",
    "Check the spelling.",
)
