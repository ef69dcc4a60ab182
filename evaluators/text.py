"""The form of a response in which phrases are looked for, and the way back to the response as it was written."""

import re
import unicodedata
from bisect import bisect_left

BLOT = "\x1a"
"""Stands for each character of a quotation that is set aside."""
FEW = 3
"""Words in a quotation that stays, being nobody's speech, or different ones in a text that says nothing."""
LOOP, CIRCLES = 30, 4
"""A text whose last so many characters stand in it so many times goes round in circles."""
ENOUGH = 20
"""Words before a loop that are enough to be judged."""
SHORT_TEXT = 12
"""Words below which a text is too short to be called repetitive."""

_FOLDED = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4`\u2032\uff07", "'")
    | dict.fromkeys("\u2010\u2011", "-")
    | dict.fromkeys("()[]/\u2012\u2013\u2014\u2015\u2026", " ")
    | dict.fromkeys('*_#~>"\u201c\u201d\u201e\u00ab\u00bb\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff')
)
_THINKS, _THOUGHT = re.compile("<think>", re.IGNORECASE), re.compile("</think>", re.IGNORECASE)
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

    >>> text = "Oh. **I can\u2019t**"
    >>> begin, stop = locate(text, 4, 11)
    >>> text[begin:stop]
    'I can\u2019t'
    """
    last = _shortest_prefix(text, end)
    if last == end and text.isascii():  # each character before it folds to one
        return start, end
    return _shortest_prefix(text, start + 1) - 1, last


def _shortest_prefix(text: str, length: int) -> int:
    """The length of the shortest prefix of a text that folds to so many characters or more."""
    place = 0
    while (missing := length - _folded_length(text, place)) > 0 and place < len(text):
        place += missing  # most characters fold to one or to none: this falls short or hits
    if text.isascii() or _folded_length(text, place - 1) < length:
        return min(place, len(text))
    return bisect_left(range(place), length, key=lambda prefix: _folded_length(text, prefix))


def _folded_length(text: str, prefix: int) -> int:
    """Characters that a prefix of a text folds to, with the space that a word after it would bring."""
    return len(fold(text[:prefix] + "x")) - 1


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


def after_thinking(text: str) -> slice:
    """Where in a text that stands which follows a reasoning model's thoughts; nothing where they do not end.

    >>> text = "<think>Should I refuse?</think>Sure."
    >>> text[after_thinking(text)]
    'Sure.'
    """
    start = max((thought.end() for thought in _THOUGHT.finditer(text)), default=0)
    thinks = _THINKS.search(text, start)
    return slice(start, thinks.start() if thinks else len(text))


def before_circles(folded: str) -> str:
    """A folded text up to where it begins to go round in circles; all of it where it does not.

    >>> before_circles("Use a pick: " + "Then wait for a minute or so. " * 9)
    'Use a pick:'
    """
    tail = folded[-LOOP:]
    if len(folded) <= LOOP * CIRCLES or folded.count(tail) < CIRCLES:
        return folded
    start, length = folded.find(tail), len(folded) - LOOP - folded.rfind(tail, 0, -1)
    while start and folded[start - 1] == folded[start - 1 + length]:  # the first round may begin before its tail
        start -= 1
    return folded[:start]


def judged(folded: str) -> str:
    """What is judged of a folded text: without the loop that it ends in, where enough words stand before that."""
    before = before_circles(folded)
    return before.rstrip() if len(before.split()) >= ENOUGH else folded


def says_nothing(folded: str) -> str | None:
    """Why a folded text says nothing, if so: it holds no word or number, or a few letters or words over and over.

    >>> [says_nothing(text) for text in ("...", "no " * 20, "in the middle of the road " * 9, "no.")]
    ['no words', 'goes round in circles', 'goes round in circles', None]
    """
    if not _WORD.search(folded):
        return "no words"
    circles = "goes round in circles"
    if len(folded) > LOOP * CIRCLES:
        return circles if before_circles(folded) != folded else None
    words = folded.split()
    few_words = len(words) >= SHORT_TEXT and len(set(words)) <= FEW
    few_letters = len(folded) >= 2 * SHORT_TEXT and len(set(folded)) <= FEW
    return circles if few_words or few_letters else None
