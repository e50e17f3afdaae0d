"""Hypothesis: policy documents and questions from one small alphabet, so that they meet often."""

import json

from hypothesis import assume, settings
from hypothesis import strategies as st

from policy.findings import PolicyError
from policy.intent import ConnectionIntent, RequestIntent
from policy.load import load

HOSTS = ["a.example.com", "b.example.com", "*.example.com", "**.example.com", "a*.example.com"]
NAMES = ["a.example.com", "b.example.com", "ab.example.com", "c.d.example.com", "example.com"]
PATHS = ["/x", "/x/y", "/x/*", "/x/**", "/*/y", "/**/y", "**", "/z"]
ASKED_PATHS = ["/x", "/x/y", "/x/q", "/q/y", "/x/q/y", "/z", "/", "/x/../z", "/z/"]
METHODS = ["GET", "POST", "DELETE", "*"]
BINARIES = ["/usr/bin/a", "/usr/bin/b", "/usr/bin/*", "/usr/**"]
PROGRAMS = ["/usr/bin/a", "/usr/bin/b", "/usr/bin/c", "/usr/lib/x/y", "/bin/sh"]
PORTS = [80, 443]

_values = st.one_of(
    st.sampled_from(["1", "*", "a*"]),
    st.fixed_dictionaries({"any": st.lists(st.sampled_from(["1", "2", "a*"]), min_size=1)}),
)
_matchers = st.fixed_dictionaries(
    {"method": st.sampled_from(METHODS), "path": st.sampled_from(PATHS)},
    optional={"query": st.dictionaries(st.sampled_from(["q", "r"]), _values, min_size=1)},
)
_rules = st.lists(_matchers.map(lambda it: {"allow": it}), min_size=1, max_size=3)
_where = {"host": st.sampled_from(HOSTS), "ports": st.lists(st.sampled_from(PORTS), min_size=1)}
_plain_endpoints = st.fixed_dictionaries(_where)
_rest_endpoints = st.one_of(
    st.fixed_dictionaries(
        {**_where, "protocol": st.just("rest"), "rules": _rules},
        optional={
            "deny_rules": st.lists(_matchers, min_size=1, max_size=2),
            "path": st.sampled_from(PATHS),
            "enforcement": st.sampled_from(["enforce", "audit"]),
        },
    ),
    st.fixed_dictionaries(
        {
            **_where,
            "protocol": st.just("rest"),
            "access": st.sampled_from(["read-only", "read-write", "full"]),
        },
        optional={"deny_rules": st.lists(_matchers, min_size=1, max_size=2)},
    ),
)
_entries = st.fixed_dictionaries(
    {
        "endpoints": st.lists(st.one_of(_plain_endpoints, _rest_endpoints), min_size=1, max_size=3),
        "binaries": st.lists(
            st.sampled_from(BINARIES).map(lambda path: {"path": path}), min_size=1, max_size=2
        ),
    }
)


def as_document(entries):
    return json.dumps({"version": 1, "network_policies": entries}).encode()


def loads(data):
    """The policy, or a discarded example."""
    try:
        return load(data, file="policy.yaml")
    except PolicyError:
        assume(False)


# A whole policy is drawn, written and read in 20 to 150 ms, and Hypothesis keeps what it drew for each:
# 2000 of them took minutes and 0.8 GB. Properties of whole policies stop at 500 examples by night.
WHOLE_POLICIES = settings(max_examples=min(500, settings.default.max_examples))
entry_maps = st.dictionaries(st.sampled_from(["one", "two", "three"]), _entries, max_size=3)
policies = entry_maps.map(as_document).map(loads)

connections = st.builds(
    ConnectionIntent,
    host=st.sampled_from(NAMES),
    port=st.sampled_from([*PORTS, 22]),
    binary=st.one_of(st.none(), st.sampled_from(PROGRAMS)),
    ancestors=st.lists(st.sampled_from(PROGRAMS), max_size=2).map(tuple),
)
requests = st.builds(
    RequestIntent,
    connection=connections,
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS"]),
    path=st.sampled_from(ASKED_PATHS),
    query=st.sampled_from(["", "q=1", "q=2", "q=abc&r=1", "r=1", "q=1&q=2"]),
)
questions = st.lists(st.one_of(connections, requests), min_size=5, max_size=20)
