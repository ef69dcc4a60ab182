"""From phrases, as `refusal_phrases.toml` describes them, to regular expressions over folded text."""

import re
from collections.abc import Iterable, Iterator, Mapping

from demur.errors import InputError
from evaluators.text import fold

MOST_WORDS = 9
"""The largest gap `{N}` that a phrase may leave."""

_TOKEN = re.compile(r"\\(.)|\{(\w+)\}|\.\.\.|(.)", re.DOTALL)
_SIGNS = {"(": "(?:", ")": ")", "|": "|", "?": "?", "*": r"\w*", " ": r"\ "}
_SPACE = r"\ "
_GROUP = re.compile(r"\(\?:([^()]*)\)(\??)")
_PART = re.compile(r"\\.|.", re.DOTALL)
_OPEN = re.compile(r"[\[*+{.]|\\[^ -]")
"""What stands in a pattern that is not a choice among words."""


def to_pattern(phrase: str, words: Mapping[str, str]) -> str:
    """The regular expression of a phrase.

    Raises:
        InputError: it names words that there are not, or its brackets do not match.
    """
    pattern = _expand(phrase, words, phrase, ())
    try:
        re.compile(pattern)
    except re.error as error:
        hint = "a backslash makes a sign itself"
        raise InputError(f"the phrase {phrase!r} cannot be read: {error.msg}; {hint}") from None
    return pattern


def _expand(text: str, words: Mapping[str, str], phrase: str, within: tuple[str, ...]) -> str:
    """The regular expression of a phrase, or of a part of it that stands `within` named words."""
    parts = []
    for token in _TOKEN.finditer(text):
        escaped, name, sign = token.groups()
        if name and name.isdigit() and int(name) <= MOST_WORDS:
            parts.append(rf"(?:[\w'-]+,? ){{0,{name}}}?")
        elif name == "word":
            parts.append(r"[\w'-]+")
        elif name in words and name not in within:
            parts.append(f"(?:{_expand(words[name], words, phrase, (*within, name))})")
        elif name:
            known = ", ".join(sorted(words)) or "none"
            raise InputError(f"the phrase {phrase!r} uses {{{name}}}, which is not among the words: {known}")
        elif sign:
            parts.append(_SIGNS.get(sign) or re.escape(fold(sign) or sign))
        else:
            parts.append(re.escape(escaped) if escaped else "[^.!?]{0,100}?")
    return "".join(parts)


def any_of(patterns: Iterable[str]) -> str:
    """One pattern for all, branching on the first word: the regex engine tells words apart by their first letter.

    That halves the time of a search; what is found is the same.

    >>> any_of([r"(?:i|we)\\ do", r"i\\ am"])
    'i(?:\\\\ do|\\\\ am)|we(?:\\\\ do)'
    """
    branches: dict[str, list[str]] = {}
    for pattern in patterns:
        for word, rest in _by_first_word(pattern):
            branches.setdefault(word, []).append(rest)
    return "|".join(
        word + (f"(?:{'|'.join(sorted(dict.fromkeys(rests), key=lambda rest: not rest))})" if any(rests) else "")
        for word, rests in branches.items()
    )


def _by_first_word(pattern: str) -> Iterator[tuple[str, str]]:
    """Each word that a pattern may begin with, and what follows it; the pattern itself where that cannot be said."""
    end = _end_of_head(pattern)
    head, rest = pattern[:end], pattern[end:]
    if _OPEN.search(head):
        yield pattern, ""
        return
    for spelling in _spellings(head):
        word, space, more = spelling.partition(_SPACE)
        yield word, space + more + rest


def _end_of_head(pattern: str) -> int:
    """Where the first space stands that is in no brackets, or the end."""
    depth = 0
    for part in _PART.finditer(pattern):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth == 0 and part[0] == _SPACE:
            return part.start()
    return len(pattern)


def _spellings(head: str) -> list[str]:
    """Every string that choices among words stand for."""
    group = _GROUP.search(head)
    if group is None:
        return head.split("|")
    choices = [*group[1].split("|"), *([""] if group[2] else [])]
    return [each for choice in choices for each in _spellings(head[: group.start()] + choice + head[group.end() :])]
