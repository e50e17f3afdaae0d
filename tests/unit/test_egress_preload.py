"""A confined egress may not read files, so nothing may be imported after ``preload``."""

import json
import subprocess
import sys

_PROGRAM = r"""
import sys, json
from supervisor.egress import server
server.preload()
before = set(sys.modules)

import dns.message
from supervisor.egress.dns import Addresses, Refused, respond
from supervisor.egress.stub import question, read_response
from supervisor.egress.authority import parse_authority
from supervisor.egress.denials import Denial, denial_response
from supervisor.egress import codes
from supervisor.egress.tls_hello import HelloReader
from policy.host import canonical_host
from ipaddress import ip_address
import asyncio, concurrent.futures, socket

class Answers:
    def answer(self, name, kind):
        if name == "a.example":
            return Addresses(v4=(ip_address("198.18.0.1"),), v6=(ip_address("fdc6:5e1f:9d07::1"),))
        return Refused(why="no")

made = dict(edns=0)
for rdtype in ("A", "AAAA", "HTTPS", "SVCB", "TXT", "SRV", "MX", "CAA", "NAPTR", "TYPE999"):
    for name in ("a.example", "b.example"):
        query = dns.message.make_query(name, rdtype, use_edns=0)
        respond(query.to_wire(), Answers(), over_tcp=False)
asked = question("a.example", "A", 1)
answer = dns.message.make_response(dns.message.from_wire(asked))
for line in ("a.example. 1 IN CNAME b.example.", "b.example. 1 IN A 192.0.2.1",
             "b.example. 1 IN RRSIG A 8 2 1 20300101000000 20200101000000 1 example. AAAA"):
    name, ttl, rdclass, rdtype, text = line.split(" ", 4)
    answer.answer.append(dns.rrset.from_text(name, int(ttl), rdclass, rdtype, text))
read_response(answer.to_wire(), asked)
canonical_host("b\u00fccher.example")
canonical_host("xn--bcher-kva.example")
parse_authority("[2001:db8::1]:443", None)
denial_response(Denial(code=codes.POLICY_DENIED, cause="x", request_id="1"), method="GET", keep_alive=True)
HelloReader().feed(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")

async def main():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        await loop.run_in_executor(pool, len, "x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", 9))
        await loop.sock_sendall(sock, b"x")
    try:
        async with asyncio.timeout(0.01), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(5))
    except TimeoutError:
        pass

asyncio.run(main())
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_nothing_is_imported_after_preload():
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "."},
    )
    assert json.loads(ran.stdout) == []
