from ipaddress import ip_address

from support.built_policies import endpoint, entry, policy

from policy.index import compile_policy
from supervisor.egress.authority import parse_authority
from supervisor.egress.dns import Addresses, Refused
from supervisor.egress.hosts import parse_hosts
from supervisor.egress.naming import (
    MAX_STARRED_NAME,
    NEW_NAMES_PER_HOUR,
    NEW_NAMES_PER_MINUTE,
    LookupBudget,
    Names,
    ReportingNames,
)
from supervisor.egress.synthetic import TABLE_SIZE, Kind, SyntheticTable

HOSTS = parse_hosts(b"127.0.0.1 localhost\n10.88.0.7 db.example db\n::2 db.example\n")
RULES = compile_policy(
    policy(entry("a", endpoint("api.example.com", 443), endpoint("*.cdn.example.com", 443)))
)
NOTHING = compile_policy(policy())


def names(index=RULES, *, has_ipv6=True):
    table = SyntheticTable(bytearray(TABLE_SIZE))
    made = Names(
        hosts=HOSTS, table=table, index=lambda: index, has_ipv6=has_ipv6, clock=lambda: 1.0
    )
    return made, table


def test_dns_answers_exact_names_and_names_under_wildcards_from_their_own_parts():
    made, table = names()
    assert isinstance(made.answer("api.example.com"), Addresses)
    assert isinstance(made.answer("x.cdn.example.com"), Addresses)
    assert (table.count(Kind.EXACT), table.count(Kind.POOLED)) == (1, 1)


def test_a_refused_name_is_reported_with_its_type_and_others_are_counted():
    refused = []
    reporting = ReportingNames(names()[0], lambda *told: refused.append(told))

    reporting.answer("no.example", "AAAA")
    reporting.answer("api.example.com", "A")

    assert refused == [("no.example", "AAAA", "no rule of the policy names this host")]
    assert reporting.given == 1


def test_dns_refuses_what_no_rule_names():
    made, table = names()
    for name in ("evil.example", "cdn.example.com", "a.b.cdn.example.com", "example.com"):
        assert isinstance(made.answer(name), Refused)
    assert table.count(Kind.POOLED) == 0


def test_without_ipv6_there_is_no_ipv6_address():
    made, _ = names(has_ipv6=False)
    assert made.answer("api.example.com").v6 == ()


def test_the_hosts_file_answers_with_its_own_addresses():
    made, _ = names(NOTHING)
    assert made.answer("db.example") == Addresses(
        v4=(ip_address("10.88.0.7"),), v6=(ip_address("::2"),)
    )


def test_an_address_leads_back_to_its_name():
    made, _ = names()
    answer = made.answer("api.example.com")
    for address in (answer.v4[0], answer.v6[0]):
        target = made.of_address(address, 443)
        assert (target.hosts, target.addresses) == (("api.example.com",), None)


def test_an_address_of_the_hosts_file_is_judged_by_its_names_and_by_itself():
    made, _ = names()
    target = made.of_address(ip_address("10.88.0.7"), 5432)
    assert target.hosts == ("db.example", "db", "10.88.0.7")
    assert target.addresses == (ip_address("10.88.0.7"),)


def test_a_synthetic_address_that_stands_for_nothing_is_no_target():
    made, _ = names()
    assert made.of_address(ip_address("198.18.0.9"), 443) is None
    assert made.of_address(ip_address("fdc6:5e1f:9d07::9"), 443) is None


def test_a_proxy_s_target_may_be_a_name_a_synthetic_address_or_a_real_one():
    made, _ = names()
    synthetic = made.answer("api.example.com").v4[0]
    assert made.of_authority(parse_authority(f"{synthetic}:443", None)).host == "api.example.com"
    assert made.of_authority(parse_authority("api.example.com:443", None)).addresses is None
    real = made.of_authority(parse_authority("192.0.2.7:443", None))
    assert (real.hosts, real.addresses) == (("192.0.2.7",), (ip_address("192.0.2.7"),))
    assert made.of_authority(parse_authority("db.example:1", None)).addresses is not None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_new_names_are_limited_by_the_minute_and_by_the_hour():
    clock = Clock()
    budget = LookupBudget(clock)
    asked = 0
    for minute in range(20):
        clock.now = minute * 60.0
        for number in range(NEW_NAMES_PER_MINUTE + 1):
            asked += budget.allows(f"n{minute}-{number}.cdn.example.com")
    assert asked == NEW_NAMES_PER_HOUR
    clock.now += 3600
    assert budget.allows("later.cdn.example.com")


def test_a_known_name_is_free_and_a_long_one_is_never_asked_for():
    budget = LookupBudget(Clock())
    assert budget.allows("a.cdn.example.com")
    for _ in range(1000):
        assert budget.allows("a.cdn.example.com")
    assert not budget.allows("x" * 60 + "." + "y" * MAX_STARRED_NAME + ".cdn.example.com")
