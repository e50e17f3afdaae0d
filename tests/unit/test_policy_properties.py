"""Laws of the decision, for policies and questions that nobody wrote by hand."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from support.built_policies import CURL, endpoint, entry, policy, rest

from policy import codes
from policy.decide import decide_connection, decide_request
from policy.findings import PatternError
from policy.glob import match_pieces, pieces_overlap
from policy.host import HostPattern, canonical_host
from policy.index import compile_policy
from policy.intent import Caller, ConnectionIntent, RequestIntent
from policy.path import PathPattern, canonical_path
from policy.query import QueryPattern, read_query
from policy.suggest import explain

RANK = {"allow": 0, "audit": 1, "deny": 2}

# Few letters, so that patterns and names meet often.
labels = st.sampled_from(["a", "b", "ab", "a-api", "xn--fa-hia"])
names = st.lists(labels, min_size=1, max_size=5).map(".".join)
stars = st.sampled_from(["*", "**", "*-api", "a*", "a", "b"])
patterns = st.one_of(
    names,
    st.tuples(
        stars, st.lists(st.sampled_from(["a", "b", "*"]), max_size=2), st.just(["a", "b"])
    ).map(lambda parts: ".".join([parts[0], *parts[1], *parts[2]])),
    st.sampled_from(["192.0.2.7", "::1", "10.0.0.1"]),
)
ports = st.lists(st.sampled_from([80, 443, 6443]), min_size=1, max_size=2, unique=True)
binaries = st.lists(st.sampled_from([CURL, "/opt/a", "/opt/*", "/opt/**", "/bin/x"]), max_size=2)
segments = st.sampled_from(["a", "b", "*", "a*", "**"])
path_patterns = st.one_of(
    st.just("**"),
    st.lists(segments, min_size=1, max_size=4).map(lambda found: "/" + "/".join(found)),
)
paths = st.lists(st.sampled_from(["a", "b", "ab", "", ".."]), max_size=5).map(
    lambda s: "/" + "/".join(s)
)
queries = st.sampled_from(["", "k=v", "k=v&k=w", "k=w", "k=v;k=w", "k=%zz", "x=1"])


def parses(parse):
    def works(text):
        try:
            parse(text)
        except PatternError:
            return False
        return True

    return works


host_patterns = patterns.filter(parses(HostPattern.parse))
rule_paths = path_patterns.filter(parses(PathPattern.parse))


@st.composite
def rules(draw):
    query = draw(st.sampled_from([{}, {"k": "v"}, {"k": ("v", "w*")}]))
    method = draw(st.sampled_from(["GET", "POST", "*", "HEAD"]))
    return rest(method, draw(rule_paths), **query)


@st.composite
def endpoints(draw):
    inspected = draw(st.booleans())
    fields = {"protocol": None}
    if inspected:
        fields = {
            "protocol": draw(st.sampled_from(["rest", "rest", "rest", "graphql"])),
            "rules": tuple(draw(st.lists(rules(), max_size=2))),
            "deny_rules": tuple(draw(st.lists(rules(), max_size=1))),
            "path": draw(st.one_of(st.none(), rule_paths)),
            "enforcement": draw(st.sampled_from(["enforce", "audit"])),
            "allow_encoded_slash": draw(st.booleans()),
        }
    return endpoint(draw(host_patterns), *draw(ports), **fields)


@st.composite
def policies(draw):
    count = draw(st.integers(0, 3))
    return policy(
        *(
            entry(
                f"e{number}",
                *draw(st.lists(endpoints(), min_size=1, max_size=3)),
                binaries=tuple(draw(binaries)),
            )
            for number in range(count)
        )
    )


@st.composite
def intents(draw):
    return ConnectionIntent(
        host=draw(st.one_of(names, st.sampled_from(["192.0.2.7", "A.b.", "10.0.0.1", "127.1"]))),
        port=draw(st.sampled_from([80, 443, 6443, 22])),
        binary=draw(st.sampled_from([CURL, "/opt/a", "/opt/a/b", None])),
        ancestors=tuple(draw(st.lists(st.sampled_from(["/bin/x", "/opt/a"]), max_size=2))),
    )


@st.composite
def requests(draw):
    return RequestIntent(
        connection=draw(intents()),
        method=draw(st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "get", "TRACE"])),
        path=draw(st.one_of(paths, st.just("*"), st.just("/a%2fb"))),
        query=draw(queries),
    )


def with_endpoint(whole, change):
    """The policy with the first REST endpoint changed, or None where there is none."""
    for place, one in enumerate(whole.network_policies):
        for number, found in enumerate(one.endpoints):
            if found.protocol == "rest":
                several = list(one.endpoints)
                several[number] = change(found)
                entries = list(whole.network_policies)
                entries[place] = dataclasses.replace(one, endpoints=tuple(several))
                return dataclasses.replace(whole, network_policies=tuple(entries))
    return None


@given(policies(), requests(), rules())
def test_an_added_allow_rule_never_denies_more(whole, intent, rule):
    wider = with_endpoint(whole, lambda e: dataclasses.replace(e, rules=(*e.rules, rule)))
    if wider is not None:
        before = decide_request(compile_policy(whole), intent).verdict
        after = decide_request(compile_policy(wider), intent).verdict
        assert RANK[after] <= RANK[before]


@given(policies(), intents(), host_patterns, ports)
def test_an_added_entry_never_denies_a_connection_more(whole, intent, host, some):
    added = entry("a-new", endpoint(host, *some), binaries=("/**",))
    wider = dataclasses.replace(whole, network_policies=(*whole.network_policies, added))
    before = decide_connection(compile_policy(whole), intent)
    after = decide_connection(compile_policy(wider), intent)
    assert RANK[after.verdict] <= RANK[before.verdict]


@given(policies(), requests(), rules())
def test_an_added_deny_rule_never_allows_more(whole, intent, rule):
    tighter = with_endpoint(
        whole, lambda e: dataclasses.replace(e, deny_rules=(*e.deny_rules, rule))
    )
    if tighter is not None:
        before = decide_request(compile_policy(whole), intent).verdict
        after = decide_request(compile_policy(tighter), intent).verdict
        assert RANK[after] >= RANK[before]


def naive_connection(whole, intent) -> bool:
    """The rule of the README in its own words, without an index."""
    try:
        host = canonical_host(intent.host)
    except PatternError:
        return False
    if intent.port == 6443 or intent.binary is None or host.text == "::1":
        return False
    processes = (intent.binary, *intent.ancestors)
    matching = [
        e
        for one in whole.network_policies
        for e in one.endpoints
        if e.host.matches(host) and intent.port in e.ports
        if any(b.path.matches(p) for b in one.binaries for p in processes)
    ]
    protocols = {e.protocol for e in matching} - {None}
    return bool(matching) and (protocols != {"graphql"})


@given(policies(), intents())
def test_the_index_answers_as_a_search_through_all_rules_would(whole, intent):
    decision = decide_connection(compile_policy(whole), intent)
    assert (decision.verdict == "allow") == naive_connection(whole, intent)


@given(policies(), st.one_of(intents(), requests()))
def test_explain_and_decide_agree_and_every_refusal_has_cause_and_remedy(whole, intent):
    index = compile_policy(whole)
    explained = explain(index, intent)
    decide = decide_request if isinstance(intent, RequestIntent) else decide_connection
    assert explained.decision == decide(index, intent)
    assert explained.cause
    assert explained.decision.code is not codes.EVALUATOR_ERROR
    if explained.decision.verdict == "allow":
        assert explained.suggestion is None
    else:
        assert explained.suggestion.text
    assert explained.as_dict()["verdict"] == explained.decision.verdict


anything = st.text(max_size=60)


@given(
    policies(),
    anything,
    st.integers(),
    anything,
    anything,
    anything,
    st.lists(anything, max_size=2),
)
def test_every_question_gets_an_answer(whole, host, port, method, path, query, processes):
    connection = ConnectionIntent(
        host=host,
        port=port,
        binary=processes[0] if processes else None,
        ancestors=tuple(processes[1:]),
        others=tuple(Caller(binary=p) for p in processes),
    )
    intent = RequestIntent(connection=connection, method=method, path=path, query=query)
    index = compile_policy(whole)
    assert decide_connection(index, connection).code is not codes.EVALUATOR_ERROR
    assert decide_request(index, intent).code is not codes.EVALUATOR_ERROR
    assert explain(index, intent).cause


def read(parse, *arguments, **options):
    """What ``parse`` makes of its arguments, or None where it refuses them with a known code."""
    try:
        return parse(*arguments, **options)
    except PatternError as refused:
        known = refused.code in codes.catalogue()
    assert known
    return None


@given(st.one_of(anything, st.text(alphabet="ab.-_*xn0179é。:[]", max_size=40)))
def test_canonical_hosts_are_their_own_canonical_form(text):
    host = read(canonical_host, text)
    if host is not None:
        assert canonical_host(host.text) == host
        assert canonical_host(host.text.upper()) == host
        assert HostPattern.parse(host.text).matches(host)


@given(
    st.one_of(anything, st.text(alphabet="/.%2eEfF5cC;ab\\", max_size=40).map("/".__add__)),
    st.booleans(),
)
def test_canonical_paths_are_their_own_canonical_form(text, encoded_slash):
    path = read(canonical_path, text, encoded_slash=encoded_slash)
    if path is not None:
        assert canonical_path(path, encoded_slash=encoded_slash) == path
        assert path.startswith("/")
        assert "//" not in path
        assert not {".", ".."} & set(path.split("/"))
        assert path.isascii()


@given(anything)
def test_patterns_and_queries_are_read_or_refused_with_a_code(text):
    for parse in (
        HostPattern.parse,
        PathPattern.parse,
        PathPattern.parse_file,
        QueryPattern.parse,
        read_query,
    ):
        read(parse, text)


@given(host_patterns, host_patterns, names)
def test_host_patterns_that_match_one_name_overlap(left, right, name):
    first, second = HostPattern.parse(left), HostPattern.parse(right)
    host = canonical_host(name)
    if first.matches(host) and second.matches(host):
        assert first.overlaps(second)
    assert first.overlaps(second) == second.overlaps(first)
    assert first.overlaps(first)


@given(rule_paths, rule_paths, paths)
def test_path_patterns_that_match_one_path_overlap(left, right, path):
    first, second = PathPattern.parse(left), PathPattern.parse(right)
    if first.matches(path) and second.matches(path):
        assert first.overlaps(second)
    assert first.overlaps(second) == second.overlaps(first)
    assert first.overlaps(first)


pieces = st.lists(st.text("ab", max_size=2), min_size=1, max_size=4).map(tuple)


@given(pieces, pieces, st.text("ab", max_size=6))
def test_pieces_match_as_the_textbook_recursion_does(left, right, text):
    assert match_pieces(left, text) == textbook("*".join(left), text)
    if match_pieces(left, text) and match_pieces(right, text):
        assert pieces_overlap(left, right)


def textbook(glob, text):
    if not glob:
        return not text
    if glob[0] == "*":
        return textbook(glob[1:], text) or bool(text and textbook(glob, text[1:]))
    return bool(text) and text[0] == glob[0] and textbook(glob[1:], text[1:])


@given(rule_paths, paths)
def test_path_patterns_match_as_the_textbook_recursion_does(pattern, path):
    expected = pattern == "**" or by_segments(pattern[1:].split("/"), path[1:].split("/"))
    assert PathPattern.parse(pattern).matches(path) == expected


def by_segments(pattern, found):
    if not pattern:
        return not found
    if pattern == ["**"]:
        return bool(found)
    if pattern[0] == "**":
        return by_segments(pattern[1:], found) or bool(found and by_segments(pattern, found[1:]))
    return bool(found) and textbook(pattern[0], found[0]) and by_segments(pattern[1:], found[1:])
