import contextlib
import json
import resource
import shutil
import socket
import threading

import dns.message
import dns.rcode
from support.built_policies import endpoint
from support.egress_lab import (
    CAPTURED,
    NAME,
    OTHER,
    OUTSIDE,
    PROGRAM,
    Lab,
    echo,
    http_ok,
    read_head,
    rules,
)
from support.forked import CLONE_NEWNET, in_child
from support.monitor import found
from support.sockets import read_all, read_exactly
from support.tls_bytes import client_hello

from supervisor.egress import caller, http_session
from supervisor.egress.admit import ALERT_ACCESS_DENIED, ALERT_UNRECOGNIZED_NAME, Opened, Refused
from supervisor.egress.hosts import parse_hosts
from supervisor.egress.relay import End
from supervisor.egress.service import RequestEnded, TunnelEnded

HELLO = client_hello(NAME.encode())
REST_443 = endpoint(NAME, 443, access="read-only")
TWO_PROGRAMS = [PROGRAM, shutil.which("true")]


def in_lab(*endpoints, **more):
    """Run the decorated function with a lab, in a child with its own namespaces."""

    def wrap(scenario):
        def test():
            def inside():
                lab = Lab(rules(*endpoints), **more)
                try:
                    scenario(lab)
                finally:
                    lab.close()
                assert lab.error is None, lab.error
                return True

            assert in_child(inside, unshare=CLONE_NEWNET)

        test.__name__ = scenario.__name__
        return test

    return wrap


def ask(lab, name, rdtype="A"):
    query = dns.message.make_query(name, rdtype)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(query.to_wire(), ("127.0.0.1", lab.dns_ports[0]))
        return dns.message.from_wire(sock.recv(4096))


def address_of(lab, name, rdtype="A"):
    return ask(lab, name, rdtype).answer[0][0].to_text()


def denial(sock, head=None):
    head = read_head(sock) if head is None else head
    return int(head.split(b" ")[1]), json.loads(read_all(sock))


@in_lab(endpoint(NAME, 443))
def test_connect_with_an_agreeing_hello_is_a_tunnel(lab):
    lab.listen(443, echo)
    sock, head = lab.connect(f"{NAME}:443")
    assert head.startswith(b"HTTP/1.1 200 ")
    sock.sendall(HELLO)
    assert read_exactly(sock, len(HELLO)) == HELLO
    sock.close()
    ended = lab.wait_for(TunnelEnded)
    assert (ended.how, ended.bytes_up, ended.bytes_down) == (End.DONE, len(HELLO), len(HELLO))
    assert ended.callers.callers[0].binary.endswith("python3.11")


@in_lab(endpoint(NAME, 443))
def test_a_hello_in_the_same_packet_as_connect_is_not_lost(lab):
    lab.listen(443, echo)
    sock, head = lab.connect(f"{NAME}:443", early=HELLO)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert read_exactly(sock, len(HELLO)) == HELLO
    sock.close()


@in_lab(endpoint(NAME, 443))
def test_a_program_that_knows_no_proxy_is_captured_by_name(lab):
    lab.listen(443, echo)
    for family, rdtype in ((socket.AF_INET, "A"), (socket.AF_INET6, "AAAA")):
        with socket.socket(family) as sock:
            sock.settimeout(10)
            sock.connect((address_of(lab, NAME, rdtype), 443))
            sock.sendall(HELLO)
            assert read_exactly(sock, len(HELLO)) == HELLO
    assert lab.wait_for(Opened).target.host == NAME


@in_lab(endpoint(NAME, 443))
def test_a_captured_hello_for_another_name_gets_an_alert(lab):
    lab.listen(443, echo)
    sock = lab.dial(address_of(lab, NAME), 443)
    sock.sendall(client_hello(b"evil.example"))
    assert read_all(sock) == ALERT_UNRECOGNIZED_NAME
    assert lab.wait_for(Refused).code.name == "egress.tls-name-mismatch"


@in_lab(endpoint(NAME, 443))
def test_a_refused_name_does_not_exist_and_is_never_asked_for(lab):
    assert ask(lab, "evil.example").rcode() == dns.rcode.NXDOMAIN
    sock, head = lab.connect("evil.example:443")
    status, body = denial(sock, head)
    assert (status, body["code"]) == (403, "policy.host-not-allowed")
    assert lab.nameserver.asked == []
    assert lab.wait_for(Refused).code.name == body["code"]


@in_lab(endpoint(NAME, 443))
def test_a_synthetic_address_that_was_never_handed_out_is_refused(lab):
    sock = lab.dial("198.19.3.3", 443)
    sock.sendall(HELLO)
    assert sock.recv(10)[:1] == b"\x15"
    assert lab.wait_for(Refused).code.name == "egress.name-unknown"


@in_lab(endpoint(NAME, 22))
def test_a_server_that_speaks_first_is_heard(lab):
    def banner(near):
        near.sendall(b"SSH-2.0-lab\r\n")
        echo(near)

    lab.listen(22, banner)
    sock, head = lab.connect(f"{NAME}:22")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert read_exactly(sock, 13) == b"SSH-2.0-lab\r\n"
    sock.sendall(b"hello")
    assert read_exactly(sock, 5) == b"hello"
    captured = lab.dial(address_of(lab, NAME), 22)
    assert read_exactly(captured, 13) == b"SSH-2.0-lab\r\n"


@in_lab(endpoint(NAME, 80))
def test_captured_http_is_served_request_by_request_over_one_connection(lab):
    lab.listen(80, http_ok)
    sock = lab.dial(address_of(lab, NAME), 80)
    for _ in range(3):
        sock.sendall(f"GET /x HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        head = read_head(sock)
        body = read_exactly(sock, int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
        assert body.startswith(f"GET /x HTTP/1.1\r\nHost: {NAME}\r\nVia: ".encode())
    sock.sendall(b"GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n")
    status, body = denial(sock)
    assert (status, body["code"]) == (421, "egress.http-host-mismatch")


@in_lab(endpoint(NAME, 80, access="read-only"))
def test_the_proxy_judges_each_request(lab):
    lab.listen(80, http_ok)
    sock = lab.dial(*lab.proxy_address)
    sock.sendall(f"GET http://{NAME}/x HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    head = read_head(sock)
    assert head.startswith(b"HTTP/1.1 200 ")
    read_exactly(sock, int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
    sock.sendall(f"DELETE http://{NAME}/x HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    head = read_head(sock)
    assert head.startswith(b"HTTP/1.1 403 ")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    body = json.loads(read_exactly(sock, length))
    assert body["code"] == "policy.request-not-allowed"
    sock.sendall(
        f"GET http://{OTHER}/ HTTP/1.1\r\nHost: {OTHER}\r\nConnection: close\r\n\r\n".encode()
    )
    assert denial(sock)[1]["code"] == "policy.host-not-allowed"
    assert lab.wait_for(RequestEnded).record.status == 200
    assert len({question for question, _ in lab.nameserver.asked}) == 2


@in_lab(REST_443)
def test_rules_for_requests_inside_tls_are_refused_with_a_reason_unless_that_is_accepted(lab):
    lab.listen(443, echo)
    sock = lab.dial(address_of(lab, NAME), 443)
    sock.sendall(HELLO)
    assert sock.recv(10) == ALERT_ACCESS_DENIED
    refused = lab.wait_for(Refused)
    assert refused.code.name == "egress.inspection-unavailable"
    assert "speaks TLS" in refused.cause
    assert "request-rules" in refused.code.remedy

    lab.do(lambda: lab.egress.use_policy(rules(REST_443, accept=("request-rules",))))
    accepted = lab.dial(address_of(lab, NAME), 443)
    accepted.sendall(HELLO)
    assert read_exactly(accepted, len(HELLO)) == HELLO
    plain = lab.dial(address_of(lab, NAME), 443)
    plain.sendall(f"DELETE /x HTTP/1.1\r\nHost: {NAME}:443\r\nConnection: close\r\n\r\n".encode())
    assert denial(plain)[1]["code"] == "policy.request-not-allowed"


@in_lab(endpoint(NAME, 443))
def test_a_refused_client_is_told_the_id_that_the_event_has(lab):
    sock, head = lab.connect(f"{OTHER}:443")
    told = denial(sock, head)[1]["request_id"]

    origin = lab.wait_for(Refused).origin
    assert (origin.request_id, (str(origin.address), origin.port)) == (told, sock.getsockname())


@in_lab(endpoint(NAME, 7000))
def test_opening_and_closing_a_tunnel_have_one_id_and_the_clients_end(lab):
    lab.listen(7000, echo)
    sock, _ = lab.connect(f"{NAME}:7000")
    name = sock.getsockname()
    opened = lab.wait_for(Opened).origin
    sock.close()

    assert lab.wait_for(TunnelEnded).origin == opened
    assert (str(opened.address), opened.port) == name


@in_lab(endpoint("*.example.com", 443))
def test_an_address_that_the_rule_does_not_open_is_not_dialled(lab):
    sock, head = lab.connect(f"{NAME}:443")
    assert denial(sock, head)[1]["code"] == "policy.address-internal"


@in_lab(endpoint(NAME, 443), table={(NAME, "A"): ["192.0.2.1"]})
def test_an_address_of_our_own_namespace_is_not_dialled(lab):
    sock, head = lab.connect(f"{NAME}:443")
    assert denial(sock, head)[1]["code"] == "egress.address-local"


@in_lab(endpoint(NAME, 443), table={(NAME, "A"): [OUTSIDE, "127.0.0.1"]})
def test_one_bad_address_refuses_them_all(lab):
    sock, head = lab.connect(f"{NAME}:443")
    assert denial(sock, head)[0] == 403


@in_lab(endpoint(NAME, 443))
def test_an_upstream_that_refuses_is_a_502_with_the_cause(lab):
    sock, head = lab.connect(f"{NAME}:443")
    status, body = denial(sock, head)
    assert (status, body["code"]) == (502, "egress.upstream-unreachable")
    assert "Connection refused" in body["reason"]


@in_lab(endpoint(NAME, 443), endpoint("gone.example.com", 443))
def test_a_name_that_does_not_resolve_is_a_502_with_the_cause(lab):
    sock, head = lab.connect("gone.example.com:443")
    assert denial(sock, head)[1]["code"] == "egress.resolve-failed"


@in_lab(endpoint(NAME, 7000), endpoint(OTHER, 7000))
def test_a_new_policy_ends_only_what_it_does_not_allow(lab):
    lab.listen(7000, echo)
    socks = {}
    for name in (NAME, OTHER):
        sock, _ = lab.connect(f"{name}:7000")
        sock.sendall(b"ping")
        assert read_exactly(sock, 4) == b"ping"
        socks[name] = sock
    lab.do(lambda: lab.egress.use_policy(rules(endpoint(OTHER, 7000))))
    assert reset_or_end(socks[NAME])
    socks[OTHER].sendall(b"pong")
    assert read_exactly(socks[OTHER], 4) == b"pong"
    sock, head = lab.connect(f"{NAME}:7000")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert lab.wait_for(TunnelEnded).how is End.POLICY


def reset_or_end(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@in_lab(endpoint(NAME, 7000))
def test_half_close_passes_through_a_tunnel(lab):
    def sum_up(near):
        near.sendall(b"%d" % len(read_all(near)))
        near.close()

    lab.listen(7000, sum_up)
    sock, _ = lab.connect(f"{NAME}:7000", early=b"x" * 1000)
    sock.sendall(b"y" * 500_000)
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == b"501000"


@in_lab(endpoint(NAME, 7000))
def test_running_out_of_descriptors_sheds_and_recovers(lab):
    lab.listen(7000, echo)
    sock, _ = lab.connect(f"{NAME}:7000")
    # All that the first connection needed only for a moment is closed again.
    lab.monitor.settle()
    lab.do(lambda: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(c.fileno() for c in clients) + 1, hard))
    try:
        for client in clients:
            client.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                client.connect(lab.proxy_address)
                assert reset_or_end(client)
        sock.sendall(b"alive")
        assert read_exactly(sock, 5) == b"alive"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    _, head = lab.connect(f"{NAME}:7000")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert any(getattr(event, "limit", "") == "Too many open files" for event in lab.events)


@in_lab(endpoint(NAME, 7000))
def test_sixty_at_once(lab):
    lab.listen(7000, echo)
    failures = []

    def one(number):
        try:
            sock, _ = lab.connect(f"{NAME}:7000")
            data = b"%d" % number * 1000
            sock.sendall(data)
            assert read_exactly(sock, len(data)) == data
            sock.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []


@in_lab(endpoint(NAME, 443))
def test_dns_over_tcp_answers_too(lab):
    query = dns.message.make_query(NAME, "A")
    sock = lab.dial("127.0.0.1", lab.dns_ports[1])
    wire = query.to_wire()
    sock.sendall((len(wire).to_bytes(2, "big") + wire) * 2)
    for _ in range(2):
        length = int.from_bytes(read_exactly(sock, 2), "big")
        response = dns.message.from_wire(read_exactly(sock, length))
        assert response.answer[0][0].to_text().startswith("198.18.")
    sock.close()


@in_lab(endpoint(NAME, 7001))
def test_an_address_with_the_name_of_an_allowed_host_in_its_hello_is_judged_as_the_address(lab):
    lab.listen(7001, echo)
    sock = lab.dial(OUTSIDE, 7001, CAPTURED)
    sock.sendall(HELLO)
    assert sock.recv(10)[:1] == b"\x15"
    refused = lab.wait_for(Refused)
    assert refused.code.name == "policy.host-not-allowed"
    assert refused.target.hosts == (OUTSIDE,)


@in_lab(endpoint(NAME, 7001), hosts=parse_hosts(f"{OUTSIDE} {NAME}\n".encode()))
def test_an_address_of_the_hosts_file_is_allowed_by_its_name(lab):
    lab.listen(7001, echo)
    assert ask(lab, NAME).answer[0][0].to_text() == OUTSIDE
    sock = lab.dial(OUTSIDE, 7001, CAPTURED)
    sock.sendall(HELLO)
    assert read_exactly(sock, len(HELLO)) == HELLO


@in_lab(endpoint(NAME, 80))
def test_a_head_that_never_ends_is_answered_and_forgotten(lab):
    http_session.HEAD_S = 0.2
    sock = lab.dial(*lab.proxy_address)
    sock.sendall(b"GET http://api.exam")
    status, body = denial(sock)
    assert (status, body["code"]) == (408, "egress.too-slow")
    sock.close()
    wait = threading.Event()
    while lab.do(lambda: lab.egress.status().sessions):
        wait.wait(0.05)


@in_lab(endpoint(NAME, 7000), monitor=lambda question: None)
def test_a_monitor_that_does_not_answer_is_a_denial(lab):
    caller.PATIENCE_S = 0.1
    sock, head = lab.connect(f"{NAME}:7000")
    assert denial(sock, head)[1]["code"] == "policy.caller-over-budget"


@in_lab(endpoint(NAME, 7000), monitor=lambda question: found(question, 1, 2, paths=TWO_PROGRAMS))
def test_one_holder_that_is_not_allowed_refuses_the_connection(lab):
    sock, head = lab.connect(f"{NAME}:7000")
    assert denial(sock, head)[1]["code"] == "policy.binary-not-allowed"


@in_lab(endpoint(NAME, 80))
def test_a_websocket_goes_through_where_requests_are_not_judged(lab):
    def switch(near):
        head = read_head(near)
        assert b"Upgrade: websocket" in head
        near.sendall(
            b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhi"
        )
        echo(near)

    lab.listen(80, switch)
    sock = lab.dial(address_of(lab, NAME), 80)
    sock.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
    )
    assert read_head(sock).startswith(b"HTTP/1.1 101 ")
    assert read_exactly(sock, 2) == b"hi"
    sock.sendall(b"frame")
    assert read_exactly(sock, 5) == b"frame"


@in_lab(endpoint(NAME, 80))
def test_a_large_body_passes_in_both_directions_without_being_kept(lab):
    def swallow(near):
        read_head(near)
        read_exactly_and_drop(near, 8 << 20)
        near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 << 20))
        near.sendall(bytes(8 << 20))
        near.close()

    lab.listen(80, swallow)
    sock = lab.dial(address_of(lab, NAME), 80)
    sock.sendall(f"POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {8 << 20}\r\n\r\n".encode())
    sock.sendall(bytes(8 << 20))
    assert read_head(sock).startswith(b"HTTP/1.1 200 ")
    read_exactly_and_drop(sock, 8 << 20)


def read_exactly_and_drop(sock, count):
    while count:
        piece = sock.recv(min(count, 1 << 18))
        assert piece
        count -= len(piece)


def test_a_fault_of_ours_ends_egress_with_its_cause():
    def inside():
        lab = Lab(rules(endpoint(NAME, 443)))

        def fault():
            raise ZeroDivisionError("a fault")

        def hook(_arguments):
            """The thread's traceback is expected."""

        threading.excepthook = hook
        lab.do(lambda: lab.egress._service.poller.later(fault))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as poke:
            poke.sendto(bytes(12), ("127.0.0.1", lab.dns_ports[0]))
        lab._thread.join(20)
        lab.outside.stop()
        return repr(lab.error)

    assert "ZeroDivisionError" in in_child(inside, unshare=CLONE_NEWNET)


@in_lab(endpoint(NAME, 80))
def test_a_client_that_ends_in_the_same_packet_as_it_asks_is_answered_and_ended(lab):
    lab.listen(80, http_ok)
    sock = lab.dial(address_of(lab, NAME), 80)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock).startswith(b"HTTP/1.1 200 ")
    proxied = lab.dial(*lab.proxy_address)
    proxied.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    proxied.sendall(f"GET http://{NAME}/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    proxied.shutdown(socket.SHUT_WR)
    assert read_all(proxied).startswith(b"HTTP/1.1 200 ")
