"""The star, the only wildcard inside a label, a segment or a value: any run of characters.

A text with stars is kept cut at them: ``("a", "c")`` for ``a*c``, ``("abc",)`` for ``abc``. Matching
looks for each piece once, from left to right, and never goes back: the leftmost place of a piece
leaves the most room for the next, so the first failure is final.
"""


def match_pieces(pieces: tuple[str, ...], text: str) -> bool:
    """Whether ``text`` is the pieces in order, with anything (also nothing) between them."""
    if len(pieces) == 1:
        return text == pieces[0]
    start, end = len(pieces[0]), len(text) - len(pieces[-1])
    if start > end or not text.startswith(pieces[0]) or not text.endswith(pieces[-1]):
        return False
    for piece in pieces[1:-1]:
        found = text.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True


def pieces_overlap(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether some text could match both; may say True without need, never False wrongly.

    Both fixed ends must agree as far as both reach; what lies between two stars can always be
    made to agree.
    """
    if len(left) == 1:
        return match_pieces(right, left[0])
    if len(right) == 1:
        return match_pieces(left, right[0])
    head = min(len(left[0]), len(right[0]))
    tail = min(len(left[-1]), len(right[-1]))
    return left[0][:head] == right[0][:head] and (
        tail == 0 or left[-1][-tail:] == right[-1][-tail:]
    )
