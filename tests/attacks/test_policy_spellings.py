"""attacks.md F9, G1–G3, G5–G7, L7: destinations and paths under another spelling.

Each attack runs against a policy that names what it pretends to be and, as the trap, the metadata
address that it stands for; the paired request in plain spelling is allowed.
"""

import ipaddress

import pytest
from support.built_policies import CURL, endpoint, entry, policy, rest

from policy import codes
from policy.address import judge_addresses
from policy.decide import decide_connection, decide_request
from policy.host import HostPattern, canonical_host
from policy.index import compile_policy
from policy.intent import ConnectionIntent, RequestIntent
from policy.path import PathPattern
from policy.query import QueryPattern

INDEX = compile_policy(
    policy(
        entry(
            "web",
            endpoint("example.com", rules=(rest("*"),), deny_rules=(rest("*", "/admin/**"),)),
            endpoint("169.254.169.254"),
        ),
        entry("net", endpoint(None, 8443, allowed_ips=("2000::/3", "1.0.0.0/8", "64:ff9b::/96"))),
    )
)
NAMED = compile_policy(policy(entry("web", endpoint("example.com"), endpoint("**.example.com"))))


def connect(index, host, port=443):
    return decide_connection(index, ConnectionIntent(host=host, port=port, binary=CURL))


def is_dialled(host) -> bool:
    """Whether an address is let through by the decision and by the rule that it carries."""
    decision = connect(INDEX, host, 8443)
    if decision.verdict == "deny":
        return False
    address = canonical_host(host).address
    rule = decision.admission.addresses
    return judge_addresses((address,), rule=rule, port=8443).is_allowed


@pytest.mark.parametrize("host", ["example.com", "a.example.com", "A.B.Example.COM."])
def test_the_plain_names_are_allowed(host):
    assert connect(NAMED, host).verdict == "allow"


@pytest.mark.parametrize(
    "host",
    ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "127.1", "0", "0x7f.1"],
)
def test_g1_a_number_is_no_host(host):
    assert connect(INDEX, host, 8443).code is codes.HOST_NUMERIC


@pytest.mark.parametrize(
    "host",
    ["①②⑦.0.0.1", "１２７.0.0.1", "①⑥⑨.②⑤④.①⑥⑨.②⑤④", "127。0。0。1", "127．0．0．1"],
)
def test_g2_digits_and_dots_in_disguise_are_no_address(host):
    disguises = (codes.HOST_DISGUISED_DIGITS, codes.HOST_NUMERIC)
    assert connect(INDEX, host, 8443).code in disguises


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "::ffff:a9fe:a9fe",
        "[::ffff:169.254.169.254]",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "fd00:ec2::254",
    ],
)
def test_g3_metadata_is_not_dialled_inside_an_ipv6_address(host):
    assert not is_dialled(host)


@pytest.mark.parametrize(
    "host", ["1.1.1.1", "::ffff:1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"]
)
def test_g3_the_paired_public_addresses_are_dialled(host):
    assert is_dialled(host)


@pytest.mark.parametrize("host", ["fe80::1%eth0", "[fe80::1%25eth0]", "::1%lo"])
def test_g3_zones_are_refused(host):
    assert connect(INDEX, host, 8443).code is codes.HOST_PERCENT


@pytest.mark.parametrize(
    "host",
    [
        "user:pass@example.com",
        "example.com:443:443",
        "[::1]junk",
        "example.com\t",
        "example.com\\.evil.test",
        "//example.com",
        "http://a@b#@example.com",
        "example.com/..",
        "example.com?.evil.test",
        " example.com",
    ],
)
def test_g5_what_is_not_a_host_alone_is_refused(host):
    decision = connect(INDEX, host)
    assert decision.verdict == "deny"
    assert decision.code.name.startswith("policy.host-")


@pytest.mark.parametrize(
    "text", ["é" * 100_000, "a" * 100_000, "é." * 50_000, "xn--" + "a" * 100_000, "é" * 900]
)
def test_g6_lengths_are_refused_before_idna_sees_them(text, monkeypatch):
    import idna

    seen = []
    monkeypatch.setattr(idna, "uts46_remap", lambda *a, **k: seen.append(a))
    monkeypatch.setattr(idna, "alabel", lambda *a, **k: seen.append(a))
    assert connect(NAMED, text).code is codes.HOST_TOO_LONG
    assert seen == []


@pytest.mark.parametrize(
    "host", ["evilexample.com", "example.com.evil.test", "x-example.com", "xexample.com", "com"]
)
def test_g7_a_suffix_is_labels_not_letters(host):
    assert connect(NAMED, host).code is codes.HOST_NOT_ALLOWED


def test_g7_a_nul_does_not_end_a_name():
    assert connect(NAMED, "evil.test\0.example.com").code is codes.HOST_CONTROL


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("a..example.com", codes.HOST_EMPTY),
        (".example.com", codes.HOST_EMPTY),
        ("a" * 64 + ".example.com", codes.HOST_TOO_LONG),
        ("a." * 122 + "example.com", codes.HOST_TOO_LONG),
        ("a\0.example.com", codes.HOST_CONTROL),
        ("a\x1b[0m.example.com", codes.HOST_CONTROL),
        ("a%00.example.com", codes.HOST_PERCENT),
        ("a .example.com", codes.HOST_SPACE),
    ],
)
def test_f9_names_that_resolvers_read_differently_are_refused(host, code):
    assert connect(NAMED, host).code is code


def test_f9_punycode_and_unicode_are_one_name():
    index = compile_policy(policy(entry("web", endpoint("bücher.example.com"))))
    for spelling in (
        "xn--bcher-kva.example.com",
        "BÜCHER.example.com",
        "bu\u0308cher.example.com",
    ):
        assert connect(index, spelling).verdict == "allow"
    assert connect(index, "bucher.example.com").verdict == "deny"


def test_f9_a_name_of_253_characters_is_still_a_name():
    name = "a." * 121 + "example.com"
    assert len(name) == 253
    assert connect(NAMED, name).verdict == "allow"


@pytest.mark.parametrize(
    "path",
    [
        "/admin/x",
        "/ADMIN/../admin/x",
        "//admin//x",
        "/./admin/x",
        "/a/%2e%2e/admin/x",
        "/%61dmin/x",
        "/admin;v=1/x",
        "/a/..%2fadmin/x",
        "/admin%2fx",
        "/admin\\x",
        "/admin%5cx",
        "/%252e%252e/admin/x",
        "/..;/admin/x",
        "/admin/x%00",
        "/%c0%ae%c0%ae/admin/x",
    ],
)
def test_no_spelling_of_a_path_gets_around_a_deny_rule(path):
    connection = ConnectionIntent(host="example.com", port=443, binary=CURL)
    paired = RequestIntent(connection=connection, method="GET", path="/users/x")
    assert decide_request(INDEX, paired).verdict == "allow"
    intent = RequestIntent(connection=connection, method="GET", path=path)
    assert decide_request(INDEX, intent).verdict == "deny"


def test_l7_patterns_that_stop_a_backtracking_engine_are_matched_at_once():
    """A backtracking matcher would not come back from any of these before the suite's timeout."""
    many = PathPattern.parse("/" + "a*" * 500 + "b")
    assert not many.matches("/" + "a" * 4000)
    deep = PathPattern.parse("/**/a" * 500 + "/b")
    assert not deep.matches("/a" * 2000)
    assert deep.matches("/a" * 2000 + "/b")
    value = QueryPattern.parse("*a" * 500 + "b")
    assert not value.matches("a" * 16_000)
    host = HostPattern.parse("a*" * 30 + "b.example.com")
    assert not host.matches(canonical_host("a" * 63 + ".example.com"))


def test_f6_an_answer_that_mixes_good_and_bad_addresses_is_refused_whole():
    rule = connect(NAMED, "a.example.com").admission.addresses
    good, bad = ipaddress.ip_address("1.1.1.1"), ipaddress.ip_address("::ffff:169.254.169.254")
    assert judge_addresses((good,), rule=rule, port=443).is_allowed
    assert judge_addresses((good, bad), rule=rule, port=443).code is codes.ADDRESS_METADATA
