"""A whole egress behind a corporate proxy, in namespaces of the test's own."""

import json

from support.built_policies import endpoint
from support.egress_lab import NAME, OTHER, OUTSIDE, echo, http_ok, in_lab, read_head
from support.sockets import read_all, read_exactly
from support.tls_bytes import client_hello
from support.upstream_proxies import PORT, StandInProxy

from policy.host import canonical_host
from supervisor.egress import dial
from supervisor.egress.hosts import parse_hosts
from supervisor.egress.no_proxy import NoProxy, parse_no_proxy
from supervisor.egress.upstream_proxy import UpstreamProxy, parse_credentials

HELLO = client_hello(NAME.encode())
SECRET = parse_credentials(b"jo:secret")


def proxied(*endpoints, host=OUTSIDE, by_name=False, no_proxy="", **more):
    """Run the decorated function with a lab whose egress uses a proxy at ``host``."""
    proxy = UpstreamProxy(
        host=canonical_host(host),
        port=PORT,
        authorization=SECRET,
        by_name=by_name,
        no_proxy=parse_no_proxy(no_proxy),
    )
    return in_lab(*endpoints, proxy=proxy, **more)


def tunnel(lab, target):
    sock, head = lab.connect(target)
    assert head.startswith(b"HTTP/1.1 200 "), head
    sock.sendall(HELLO)
    assert read_exactly(sock, len(HELLO)) == HELLO
    return sock


def refusal(lab, target):
    sock, head = lab.connect(target)
    return int(head.split(b" ")[1]), json.loads(read_all(sock))


@proxied(endpoint(NAME, 443))
def test_the_proxy_is_asked_for_a_checked_address_with_credentials(lab):
    lab.listen(443, echo)
    proxy = StandInProxy(lab)
    tunnel(lab, f"{NAME}:443")
    (head,) = proxy.heads
    assert head.split("\r\n") == [
        f"CONNECT {OUTSIDE}:443 HTTP/1.1",
        f"Host: {OUTSIDE}:443",
        f"Proxy-Authorization: {SECRET.decode()}",
        "",
        "",
    ]


@proxied(endpoint(NAME, 80))
def test_plain_http_goes_through_a_tunnel_too_and_the_origin_sees_no_credentials(lab):
    lab.listen(80, http_ok)
    proxy = StandInProxy(lab)
    sock = lab.dial(*lab.proxy_address)
    sock.sendall(f"GET http://{NAME}/x HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    head = read_head(sock)
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    body = read_exactly(sock, length)
    assert body.startswith(b"GET /x HTTP/1.1\r\n")
    assert b"Proxy-Auth" not in body
    assert [line.split("\r\n")[0] for line in proxy.heads] == [f"CONNECT {OUTSIDE}:80 HTTP/1.1"]


@proxied(endpoint(NAME, 22))
def test_a_server_that_speaks_first_is_heard_through_the_proxy(lab):
    def banner(near):
        near.sendall(b"SSH-2.0-lab\r\n")
        echo(near)

    lab.listen(22, banner)
    StandInProxy(lab)
    sock, _ = lab.connect(f"{NAME}:22")
    assert read_exactly(sock, 13) == b"SSH-2.0-lab\r\n"


@proxied(endpoint(NAME, 22))
def test_bytes_in_the_same_packet_as_the_answer_are_the_destinations(lab):
    def eager(near):
        read_head(near)
        near.sendall(b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-lab\r\n")
        echo(near)

    lab.listen(PORT, eager)
    sock, _ = lab.connect(f"{NAME}:22")
    assert read_exactly(sock, 13) == b"SSH-2.0-lab\r\n"


@proxied(endpoint(NAME, 22))
def test_an_answer_in_single_bytes_is_read(lab):
    def slow(near):
        read_head(near)
        for byte in b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-lab\r\n":
            near.sendall(bytes([byte]))
        echo(near)

    lab.listen(PORT, slow)
    sock, _ = lab.connect(f"{NAME}:22")
    assert read_exactly(sock, 13) == b"SSH-2.0-lab\r\n"


@proxied(endpoint(NAME, 443), endpoint(OTHER, 443), no_proxy=NAME)
def test_what_no_proxy_names_is_dialled_directly(lab):
    lab.listen(443, echo)
    proxy = StandInProxy(lab)
    tunnel(lab, f"{NAME}:443")
    assert proxy.heads == []
    _sock, head = lab.connect(f"{OTHER}:443")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert len(proxy.heads) == 1


@proxied(endpoint(NAME, 443), no_proxy=f"{OUTSIDE}/32")
def test_no_proxy_by_network_holds_for_what_a_name_resolves_to(lab):
    lab.listen(443, echo)
    proxy = StandInProxy(lab)
    tunnel(lab, f"{NAME}:443")
    assert proxy.heads == []


@proxied(endpoint(NAME, 443))
def test_a_proxy_that_says_no_is_a_502_with_the_status_and_nothing_of_its_text(lab):
    StandInProxy(lab, answers=[b"HTTP/1.1 403 Evil\r\nX: y\r\n\r\n<html>evil</html>"])
    status, body = refusal(lab, f"{NAME}:443")
    assert (status, body["code"]) == (502, "egress.upstream-proxy-denied")
    assert f"{OUTSIDE}:443 through {OUTSIDE}: status 403" in body["reason"]
    assert "vil" not in str(body)


@proxied(endpoint(NAME, 443), table={(NAME, "A"): ["192.0.2.8", OUTSIDE]})
def test_the_next_address_is_tried_after_a_refusal(lab):
    lab.listen(443, echo)
    # Name servers turn their answers round: whichever comes second leads to the server.
    reaches = {"192.0.2.8:443": f"{OUTSIDE}:443"}
    proxy = StandInProxy(lab, names=reaches, answers=[b"HTTP/1.1 503 No\r\n\r\n"])
    tunnel(lab, f"{NAME}:443")
    asked = [head.split(" ")[1] for head in proxy.heads]
    assert sorted(asked) == [f"{OUTSIDE}:443", "192.0.2.8:443"]


@proxied(endpoint(NAME, 443), table={(NAME, "A"): ["192.0.2.8", OUTSIDE]})
def test_wrong_credentials_are_not_sent_again(lab):
    proxy = StandInProxy(lab, answers=[b"HTTP/1.1 407 Who\r\n\r\n"])
    status, body = refusal(lab, f"{NAME}:443")
    assert (status, body["code"]) == (502, "egress.upstream-proxy-denied")
    assert "407" in body["reason"]
    assert len(proxy.heads) == 1


@proxied(endpoint(NAME, 443))
def test_an_answer_that_is_no_http_is_a_502(lab):
    StandInProxy(lab, answers=[b"SSH-2.0-OpenSSH_9\r\n"])
    status, body = refusal(lab, f"{NAME}:443")
    assert (status, body["code"]) == (502, "egress.upstream-proxy-invalid")


@proxied(endpoint(NAME, 443))
def test_a_proxy_that_closes_at_once_is_a_502(lab):
    StandInProxy(lab, answers=[b""])
    status, body = refusal(lab, f"{NAME}:443")
    assert (status, body["code"]) == (502, "egress.upstream-proxy-unreachable")


@proxied(endpoint(NAME, 443))
def test_a_proxy_that_closes_within_its_answer_is_a_502(lab):
    StandInProxy(lab, answers=[b"HTTP/1.1 20"])
    assert refusal(lab, f"{NAME}:443")[1]["code"] == "egress.upstream-proxy-unreachable"


@proxied(endpoint(NAME, 443))
def test_a_proxy_that_is_not_there_is_a_502(lab):
    status, body = refusal(lab, f"{NAME}:443")
    assert (status, body["code"]) == (502, "egress.upstream-proxy-unreachable")
    assert "Connection refused" in body["reason"]


@proxied(endpoint(NAME, 443))
def test_a_proxy_that_does_not_answer_is_given_up(lab):
    dial.PROXY_TOTAL_S = 0.5
    lab.listen(PORT, lambda near: near.recv(65536) and near.recv(65536))
    status, body = refusal(lab, f"{NAME}:443")
    assert (status, body["code"]) == (504, "egress.upstream-proxy-unreachable")


@proxied(endpoint("*.example.com", 443))
def test_an_address_that_the_rule_does_not_open_is_not_asked_of_the_proxy(lab):
    proxy = StandInProxy(lab)
    assert refusal(lab, f"{NAME}:443")[1]["code"] == "policy.address-internal"
    assert proxy.heads == []


@proxied(endpoint(NAME, 443), by_name=True, table={})
def test_by_name_the_proxy_resolves_and_nobody_else_is_asked(lab):
    lab.listen(443, echo)
    proxy = StandInProxy(lab, names={f"{NAME}:443": f"{OUTSIDE}:443"})
    tunnel(lab, f"{NAME}:443")
    assert [head.split(" ")[1] for head in proxy.heads] == [f"{NAME}:443"]
    assert lab.nameserver.asked == []


@proxied(endpoint(NAME, 443, allowed_ips=["192.0.2.0/24"]), by_name=True)
def test_an_endpoint_with_networks_is_asked_for_by_address_all_the_same(lab):
    lab.listen(443, echo)
    proxy = StandInProxy(lab)
    tunnel(lab, f"{NAME}:443")
    assert [head.split(" ")[1] for head in proxy.heads] == [f"{OUTSIDE}:443"]


@proxied(
    endpoint(NAME, 443),
    host="proxy.example.com",
    table={(NAME, "A"): [OUTSIDE], ("proxy.example.com", "A"): [OUTSIDE]},
)
def test_a_proxy_by_name_is_resolved(lab):
    lab.listen(443, echo)
    proxy = StandInProxy(lab)
    tunnel(lab, f"{NAME}:443")
    assert len(proxy.heads) == 1


@proxied(
    endpoint(NAME, 443),
    host="proxy.example.com",
    hosts=parse_hosts(f"{OUTSIDE} proxy.example.com\n".encode()),
)
def test_a_proxy_in_the_hosts_file_is_found(lab):
    lab.listen(443, echo)
    proxy = StandInProxy(lab)
    tunnel(lab, f"{NAME}:443")
    assert len(proxy.heads) == 1


@proxied(endpoint(NAME, 443), host="gone.example.com")
def test_a_proxy_without_an_address_is_a_502(lab):
    status, body = refusal(lab, f"{NAME}:443")
    assert (status, body["code"]) == (502, "egress.upstream-proxy-unreachable")
    assert "gone.example.com" in body["reason"]


def test_an_empty_list_covers_nothing():
    assert not NoProxy().covers_name(NAME, 443)
