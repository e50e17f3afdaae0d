"""Which connection a report is about."""

from typing import NamedTuple

from policy.host import Address


class Origin(NamedTuple):
    """The id that a refused client is told, and the client's own end as the kernel knows it."""

    request_id: str
    address: Address
    port: int
