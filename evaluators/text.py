"""The form of a response in which phrases are looked for, and the way back to the response as it was written."""

import re
import unicodedata
from bisect import bisect_left, bisect_right

BLOT = "\x1a"
"""Stands for each character of a quotation that is set aside."""
FEW = 3
"""Words in a quotation that stays, being nobody's speech, or different ones in a text that says nothing."""
SHORT_TEXT = 12
"""Words in a text too short to be called repetitive by its words."""

_FOLDED = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4`\u2032\uff07", "'")
    | dict.fromkeys("\u2010\u2011", "-")
    | dict.fromkeys("()[]/\u2012\u2013\u2014\u2015\u2026", " ")
    | dict.fromkeys('*_#~>"\u201c\u201d\u201e\u00ab\u00bb\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff')
)
_WORD = re.compile(r"\w")
_QUOTATION = re.compile(
    '"[^"]{1,600}"|[\u201c\u201e][^\u201c\u201d\u201e]{1,600}[\u201c\u201d]|\u00ab[^\u00ab\u00bb]{1,600}\u00bb'
)


def fold(text: str) -> str:
    """Lower case, NFKC, straight apostrophes, single spaces; no markdown, brackets, double quotes or invisible signs.

    >>> fold("**I\u2019m  sorry**,\\nbut")
    "i'm sorry, but"
    """
    text = text.translate(_FOLDED)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_FOLDED)
    return " ".join(text.lower().split())


def locate(text: str, start: int, end: int) -> tuple[int, int]:
    """Where `fold(text)[start:end]`, which is not empty, stands in the text itself.

    Folding a longer prefix never gives a shorter result, so that both ends are found by bisection.

    >>> text = "Oh. **I can\u2019t**"
    >>> begin, stop = locate(text, 4, 11)
    >>> text[begin:stop]
    'I can\u2019t'
    """
    reach = end
    while reach < len(text) and len(fold(text[:reach])) < end:
        reach *= 2
    prefixes = range(min(reach, len(text)) + 1)
    first = bisect_right(prefixes, start, key=lambda length: len(fold(text[:length]))) - 1
    return first, bisect_left(prefixes, end, key=lambda length: len(fold(text[:length])))


def without_quotations(text: str) -> str:
    """The text with quoted speech blotted out, character for character; a text that is one quotation stays.

    >>> without_quotations('She said "no, I will not" and left.').replace(BLOT, ".")
    'She said ................ and left.'
    """
    if '"' not in text and (text.isascii() or not any(mark in text for mark in "\u201c\u201e\u00ab")):
        return text
    whole = text.strip()
    return _QUOTATION.sub(lambda match: match[0] if _stays(match[0], whole) else BLOT * len(match[0]), text)


def _stays(quotation: str, whole: str) -> bool:
    return quotation == whole or len(quotation.split()) <= FEW


def is_garbage(folded: str) -> bool:
    """Whether a folded text holds no word or number, or up to three over and over.

    >>> is_garbage("...") and is_garbage("no " * 20) and not is_garbage("no.")
    True
    """
    if not _WORD.search(folded):
        return True
    words = folded.split()
    if len(words) < SHORT_TEXT:
        return len(folded) > 2 * SHORT_TEXT and len(set(folded)) <= FEW
    return len(set(words)) <= FEW


def is_repetitive(folded: str) -> bool:
    """Whether each word of a folded text comes six times or more on average, as in a loop.

    >>> is_repetitive("in the middle of the road " * 9) and not is_repetitive("in the middle of the road")
    True
    """
    words = folded.split()
    return len(set(words)) * 6 <= len(words)
