"""A name whose answer changes between the check and the dial (network.md case 38, attacks F6)."""

import socket

from support.built_policies import endpoint
from support.egress_lab import NAME, OUTSIDE, Lab, echo, rules
from support.forked import CLONE_NEWNET, in_child
from support.sockets import read_exactly

PORT = 7000


class Rebinding(dict):
    """A zone whose one name means the allowed address once, and this machine ever after."""

    def __init__(self):
        super().__init__({(NAME, "A"): [OUTSIDE]})
        self.asked = 0

    def __getitem__(self, key):
        self.asked += 1
        return super().__getitem__(key) if self.asked == 1 else ["127.0.0.1"]


def test_case_38_only_the_address_that_was_checked_is_dialled():
    def inside():
        zone = Rebinding()
        lab = Lab(rules(endpoint(NAME, PORT)), table=zone)
        here = socket.create_server(("127.0.0.1", PORT))
        here.setblocking(False)
        lab.listen(PORT, echo)
        try:
            for _ in range(2):  # the second within the answer's lifetime
                sock, head = lab.connect(f"{NAME}:{PORT}")
                assert head.startswith(b"HTTP/1.1 200"), head
                sock.sendall(b"ping")
                assert read_exactly(sock, 4) == b"ping"
            assert zone.asked == 1
            try:
                here.accept()
            except BlockingIOError:
                return True
            return False
        finally:
            lab.close()

    assert in_child(inside, unshare=CLONE_NEWNET)
