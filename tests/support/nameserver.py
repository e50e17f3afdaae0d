"""A name server whose every answer the test writes."""

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class NameServer:
    """Answers UDP and TCP on one port with ``reply(query, transport)`` (None: silence)."""

    def __init__(self, reply, address="127.0.0.1", port=0):
        self.asked = []
        self._reply = reply
        self._tcp = socket.create_server((address, port))
        self.address, self.port = self._tcp.getsockname()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, self.port))
        self._stopped = False
        self._threads = [
            threading.Thread(target=serve, daemon=True)
            for serve in (self._serve_udp, self._serve_tcp)
        ]
        for thread in self._threads:
            thread.start()

    def _answer(self, wire, transport):
        query = dns.message.from_wire(wire)
        self.asked.append((query.question[0].to_text(), transport))
        made = self._reply(query, transport)
        if made is None or isinstance(made, bytes):
            return made
        return made.to_wire()

    def _serve_udp(self):
        while True:
            wire, peer = self._udp.recvfrom(65535)
            if self._stopped:
                return
            answer = self._answer(wire, "udp")
            if answer is not None:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self):
        while True:
            near, _ = self._tcp.accept()
            with near:
                if self._stopped:
                    return
                near.settimeout(10)
                length = int.from_bytes(near.recv(2), "big")
                answer = self._answer(near.recv(length), "tcp")
                if answer is not None:
                    near.sendall(len(answer).to_bytes(2, "big") + answer)

    def close(self):
        self._stopped = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as poke:
            poke.sendto(b"x", (self.address, self.port))
        socket.create_connection((self.address, self.port)).close()
        for thread in self._threads:
            thread.join(10)
        self._udp.close()
        self._tcp.close()


def answering(table):
    """A reply function: (name, type) to addresses, everything else is NXDOMAIN."""

    def reply(query, transport):
        made = dns.message.make_response(query)
        name, rdtype = query.question[0].name.to_text().rstrip("."), query.question[0].rdtype.name
        if not any(known == name for known, _ in table):
            made.set_rcode(dns.rcode.NXDOMAIN)
        elif (name, rdtype) in table:
            made.answer.append(
                dns.rrset.from_text(name + ".", 30, "IN", rdtype, *table[name, rdtype])
            )
        return made

    return reply
