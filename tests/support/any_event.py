"""Hypothesis: any event, its text fields filled with what somebody hostile would choose."""

from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from supervisor.events.vocabulary import Event

NASTY = [
    'x"\r\n{"class_uid":4001}',
    "a\nb",
    "a\rb",
    "\x1b[2J\x1b]0;title\x07",
    "\x7f\x9b31m",
    "\u202egpj.exe",
    "\u2028\u2029\x85",
    "\udcff\ud800",
    '" severity=LOW code="',
    "] } { [",
    "x" * 5000,
    "\U0001f600" * 3000,
    '\\"' * 3000,
    "?a=b" * 1000,
]
TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=()), max_size=40),
)
NUMBER = st.integers(min_value=-(2**70), max_value=2**70)


def of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a type as the vocabulary uses them."""
    origin = get_origin(annotation)
    if origin is UnionType:
        return st.one_of([of(one) for one in get_args(annotation)])
    if origin is Mapping:  # a report of ours
        return st.just({"version": 1})
    if origin is tuple:
        inner = get_args(annotation)
        if inner[-1] is Ellipsis:
            return st.lists(of(inner[0]), max_size=12).map(tuple)
        return st.tuples(*map(of, inner))
    simple = {
        str: TEXT,
        int: NUMBER,
        float: st.floats(),
        bool: st.booleans(),
        NoneType: st.none(),
    }
    if annotation in simple:
        return simple[annotation]
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    hints = get_type_hints(annotation)
    return st.builds(annotation, **{name: of(hints[name]) for name in annotation._fields})


EVENTS = of(Event)
