"""What one HTTP/1 request is for: its destination and path, or why it is refused (RFC 9112, 3.2)."""

from functools import lru_cache
from typing import NamedTuple

from supervisor.egress import codes
from supervisor.egress.authority import HTTP_PORT, Authority, parse_authority
from supervisor.egress.http1_head import MAX_REMEMBERED, HeadError, Request, parse_request


class Aim(NamedTuple):
    """Where a request goes; ``path`` is its origin-form target (query included), as sent."""

    authority: Authority
    path: str


# Whole heads that are kept understood, of at most MAX_REMEMBERED bytes each: a client that asks for
# the same again. 1 MiB in all.
REMEMBERED = 256


def read_request(head: bytes, bound: Authority | None) -> tuple[Request, Aim | Authority]:
    """A complete head as a value, and what it is for; raises HeadError.

    CONNECT on the proxy's own port (``bound`` is None) is for an Authority, all else has an Aim.
    """
    return (_remembered if len(head) <= MAX_REMEMBERED else _read_request)(head, bound)


def _read_request(head: bytes, bound: Authority | None) -> tuple[Request, Aim | Authority]:
    request = parse_request(head)
    if request.method == "CONNECT" and bound is None:
        return request, connect_target(request)
    return request, aim(request, bound)


_remembered = lru_cache(REMEMBERED)(_read_request)


def aim(request: Request, bound: Authority | None) -> Aim:
    """The destination of a request other than CONNECT; raises HeadError.

    ``bound`` is the destination of the connection it came on (captured, or inside CONNECT); None
    on the proxy's own port, where the request must name it.
    """
    _check_method(request)
    if bound is None and request.target.startswith("/"):
        raise HeadError(codes.HTTP_TARGET, "a proxy needs absolute-form or CONNECT")
    named = _host_header(request)
    if request.target.startswith("/") or request.target == "*":
        path = _origin_form(request)
        where = named if bound is None else bound
    else:
        where, path = _absolute_form(request.target)
        if bound is not None and where != bound:
            raise HeadError(
                codes.HTTP_HOST_MISMATCH, f"the request is for {where}, not {bound}", 421
            )
    if where is None:
        raise HeadError(codes.HTTP_HOST, "no Host header")
    if named is not None and named != where:
        raise HeadError(codes.HTTP_HOST_MISMATCH, f"Host is {named}, not {where}", 421)
    return Aim(authority=where, path=path)


def connect_target(request: Request) -> Authority:
    """The destination of a CONNECT request; raises HeadError."""
    where = parse_authority(request.target, None)
    if where is None:
        raise HeadError(codes.NAME_INVALID, f"not host:port: {request.target[:80]!r}")
    if request.framing != 0:
        raise HeadError(codes.HTTP_FRAMING, "a CONNECT request has no body")
    host = request.fields.get(b"host")
    if host is not None:
        # Clients disagree about the port here, never about the host.
        named = parse_authority(host.decode("latin-1"), where.port)
        if named is None or named.host != where.host:
            raise HeadError(codes.HTTP_HOST_MISMATCH, f"Host is not {where.host}")
    return where


def _check_method(request: Request) -> None:
    method = request.method
    if method in ("CONNECT", "TRACE"):
        raise HeadError(codes.HTTP_METHOD, f"{method} is refused here", 405)
    if method != method.upper():
        # Methods are case-sensitive, yet some servers fold them: a rule for GET must mean GET.
        raise HeadError(codes.HTTP_METHOD, "the method is not in upper case", 405)
    expect = request.fields.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise HeadError(codes.HTTP_EXPECT, "only 100-continue can be expected", 417)


def _host_header(request: Request) -> Authority | None:
    host = request.fields.get(b"host")
    if host is None:
        if request.minor:
            raise HeadError(codes.HTTP_HOST, "no Host header")
        return None
    named = parse_authority(host.decode("latin-1"), HTTP_PORT)
    if named is None:
        raise HeadError(codes.HTTP_HOST, f"not a host: {host[:80]!r}")
    return named


def _origin_form(request: Request) -> str:
    target = request.target
    if "#" in target or (target == "*" and request.method != "OPTIONS"):
        raise HeadError(codes.HTTP_TARGET, "not a path")
    return target


def _absolute_form(target: str) -> tuple[Authority, str]:
    scheme, separator, rest = target.partition("://")
    if not separator:
        raise HeadError(codes.HTTP_TARGET, "neither a path nor an absolute URI")
    if scheme.lower() != "http":
        raise HeadError(codes.HTTP_SCHEME, f"scheme {scheme[:20]!r}")
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    where = parse_authority(rest[:end], HTTP_PORT)
    path = rest[end:]
    if where is None or "#" in rest:
        raise HeadError(codes.NAME_INVALID, f"not a URI of a host: {target[:80]!r}")
    return where, path if path.startswith("/") else "/" + path
