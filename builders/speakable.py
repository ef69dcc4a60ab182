"""A prompt as a voice should say it: what goes to the TTS engine, and what its transcript is compared with.

The recorded prompt is never changed. English readings (numbers, symbols), Latin letters.
"""

import re
import unicodedata
from collections.abc import Callable

from num2words import num2words

Match = re.Match[str]

LONGEST_NUMBER = 15
"""Digits; longer numbers are read digit by digit."""

# Before NFKC, which would turn a squared sign into a bare 2 and an acute accent into a space.
_BEFORE = str.maketrans(
    {"²": " squared", "³": " cubed", "½": " one half", "¼": " one quarter", "¾": " three quarters", "⅓": " one third"}
    | {"⅔": " two thirds", "™": " ", "℠": " ", "´": "'", "′": "'", "″": '"', "…": "... "}
)
_PUNCTUATION = str.maketrans(
    dict.fromkeys("‘’‚‛ʻʼ", "'") | dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‐‑‒−", "-") | {"—": " -- ", "⁄": "/"}
)
_SIGNS = {"×": "times", "÷": "divided by", "±": "plus or minus", "≤": "at most", "≥": "at least", "≠": "is not"}
_SIGNS |= {"→": "to", "≈": "about", "∞": "infinity", "√": "square root of", "°": "degrees"}
_CURRENCY = {
    "$": ("dollar", "cent"),
    "£": ("pound", "penny"),
    "€": ("euro", "cent"),
    "¥": ("yen", ""),
    "₹": ("rupee", ""),
}
_PLURALS = {"penny": "pence", "yen": "yen"}
_SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion", "tn": "trillion"}
_IN_ADDRESSES = {
    ".": "dot",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "@": "at",
    ":": "colon",
    "?": "question mark",
}
_IN_ADDRESSES |= {"=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde"}
_FRACTIONS = {"1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter", "3/4": "three quarters"}

_KEPT = set("\n !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~£€¥₹" + "".join(_SIGNS))
_AMOUNT = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_SCALE = r"(?:\s?(k|m|bn?|tn|thousand|million|billion|trillion)\b)?"
_TOP_LEVEL = "com|org|net|edu|gov|mil|info|io|ai|co|uk|us|de|fr|eu|onion"


def speakable(text: str) -> str:
    """The text in words that a voice can read, or "" where there are none. Pure; a second time changes nothing.

    A text with letters of another script gives "" too: leaving them out would say another prompt than the recorded one.

    >>> speakable("Is 3.5% of **$1,200** > £40?")
    'Is three point five percent of one thousand two hundred dollars greater than forty pounds?'
    """
    spoken = _read(text)
    # A sign taken out can leave a new one to read (an address, a dash); each round leaves fewer, so this ends.
    while (again := _read(spoken)) != spoken:
        spoken = again
    return spoken


def _read(text: str) -> str:
    lines = [_plain(line) for line in text.splitlines()]
    if any(character.isalpha() and not _is_latin(character) for line in lines for character in line):
        return ""
    spoken = _join(lines)
    if _SIGN.search(spoken):
        for pattern, reading in _READINGS:
            spoken = pattern.sub(reading, spoken)
    spoken = _tidy(spoken)
    return spoken if any(character.isalpha() for character in spoken) else ""


def _is_latin(character: str) -> bool:
    return character.isascii() or unicodedata.name(character, "").startswith("LATIN")


def _plain(line: str) -> str:
    """One line in letters, ASCII digits and the signs that are read; emoji, controls and stray accents left out."""
    if line.isascii() and line.isprintable():
        return line
    line = "".join("" if unicodedata.category(character) == "Cf" else character for character in line)
    line = unicodedata.normalize("NFKC", line.translate(_BEFORE)).translate(_PUNCTUATION)
    line = re.sub(r"(?<=\w)–(?=\w)", "-", line).replace("–", " -- ")
    line = re.sub(r"(?<![\u0370-\u03ff])[\u0370-\u03ff](?![\u0370-\u03ff])", _spaced(_greek), line)
    return "".join(map(_kept, line))


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Lu", "Ll", "Lt", "Lo"} or character in _KEPT:
        return character
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "" if category.startswith("M") else " "


def _greek(match: Match) -> str:
    """A Greek letter that stands alone is a symbol, and is called by its name."""
    words = unicodedata.name(match[0], "").split(" WITH ")[0].split()
    return words[-1].lower() if words[:1] == ["GREEK"] and "LETTER" in words else match[0]


def _join(lines: list[str]) -> str:
    """Lines as sentences, without bullets, headings, quote marks and rules."""
    bullet = r"[-*+>]|#{1,6}|\d{1,2}[.)]" if len(lines) > 1 else r"[-*+>]|#{1,6}"
    stripped = (re.sub(rf"^\s*(?:(?:{bullet})\s+)+", "", line).strip() for line in lines)
    kept = [line for line in stripped if re.search(r"\w", line.replace("_", ""))]
    ended = [line if line[-1] in ".!?:;," else f"{line}." for line in kept[:-1]]
    return " ".join(ended + kept[-1:])


def _words(number: str) -> str:
    """A number in words: years as years, a leading zero or too many digits one by one.

    >>> _words("1984"), _words("1,984"), _words("007"), _words("1.2.3")
    ('nineteen eighty-four', 'one thousand nine hundred eighty-four', 'zero zero seven', 'one point two point three')
    """
    whole, *decimals = number.replace(",", "").split(".")
    if len(decimals) == 1:
        return f"{_words(whole) if whole else ''} point {_digits(decimals[0])}".strip()
    if decimals:
        return " point ".join(map(_words, [whole, *decimals]))
    if len(whole) > LONGEST_NUMBER or (whole.startswith("0") and len(whole) > 1):
        return _digits(whole)
    is_year = len(number) == 4 and (1100 <= int(whole) < 2000 or 2010 <= int(whole) < 2100)
    words = str(num2words(int(whole), to="year" if is_year else "cardinal"))
    return words.replace(" and ", " ").replace(",", "").replace("oh-", "oh ")


def _digits(number: str) -> str:
    return " ".join(str(num2words(int(digit))) for digit in number)


def _plural(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}es" if word.endswith("x") else f"{word}s"


def _spaced(reading: Callable[[Match], str]) -> Callable[[Match], str]:
    """Keeps the words apart from letters that touched the number; punctuation stays where it was."""

    def sub(match: Match) -> str:
        text, start, end = match.string, match.start(), match.end()
        before = " " if start > 0 and text[start - 1].isalnum() else ""
        after = " " if end < len(text) and text[end].isalnum() else ""
        return f"{before}{reading(match)}{after}"

    return sub


def _address(match: Match) -> str:
    address = re.sub(r"^(?:https?://)?(?:www\.)?", "", match[0], flags=re.IGNORECASE).rstrip("/")
    return re.sub(r"[^\w\s]|_", lambda sign: f" {_IN_ADDRESSES.get(sign[0], '')} ", address)


def _time(match: Match) -> str:
    hours, minutes, half = match[1], match[2], match[3]
    spoken = _words(str(int(hours)))
    if int(minutes):
        spoken += f" oh {_words(minutes[1])}" if minutes[0] == "0" else f" {_words(minutes)}"
    elif not half:
        spoken += " o'clock"
    return f"{spoken} {half.lower()}m" if half else spoken


def _money(sign: str, amount: str, scale: str | None) -> str:
    unit, part = _CURRENCY[sign]
    whole, _, cents = amount.partition(".")
    if scale:
        return f"{_words(amount)} {_SCALES.get(scale.lower(), scale.lower())} {_plural(unit)}"
    if len(cents) != 2 or not part:
        return f"{_words(amount)} {unit if amount == '1' else _plural(unit)}"
    units = f"{_words(whole)} {unit if whole == '1' else _plural(unit)}" if int(whole.replace(",", "")) else ""
    parts = f"{_words(str(int(cents)))} {part if cents == '01' else _plural(part)}" if int(cents) else ""
    return " and ".join(filter(None, [units, parts])) or f"zero {_plural(unit)}"


def _range(match: Match) -> str:
    low, high = match[1], match[2]
    if int(low) < int(high) and len(high) - len(low) < 2 and (len(low), len(high)) != (3, 4):
        return f"{_words(low)} to {_words(high)}"
    return f"{_digits(low)}, {_digits(high)}"


def _ordinal(match: Match) -> str:
    number = match[1].replace(",", "")
    if len(number) > LONGEST_NUMBER:
        return _digits(number)
    return str(num2words(int(number), to="ordinal")).replace(" and ", " ").replace(",", "")


# Nearly all prompts have none of these, and are spared the readings.
_SIGN = re.compile(r"[^\sa-zA-Z'\",;:!?().\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f-]|\.\w")
# In this order: what a later pattern would take apart comes first.
_READINGS: list[tuple[re.Pattern[str], str | Callable[[Match], str]]] = [
    (re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)"), r" \1 "),
    (re.compile(r"<([a-zA-Z][\w-]*)[^<>]*>(.*?)</\1>"), r" \2 "),
    (re.compile(r"</?(?:br|hr|p)\s*/?>", re.IGNORECASE), " "),
    (re.compile(r"</?([a-zA-Z][\w-]*)[^<>]*>"), r" \1 "),
    (re.compile(r"\^2\b"), " squared "),
    (re.compile(r"\^3\b"), " cubed "),
    (re.compile(r"(?<=\w)\^(?=\w)"), " to the power of "),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), _spaced(_address)),
    (re.compile(r"\b(?:https?://|www\.)[^\s<>\"()]*[\w/]", re.IGNORECASE), _spaced(_address)),
    (
        re.compile(rf"(?<![\w.-])(?:[a-z0-9-]+\.)+(?:{_TOP_LEVEL})\b(?:/[^\s<>\"()]*[\w/])?", re.IGNORECASE),
        _spaced(_address),
    ),
    (re.compile(r"(?<!\S)(?:~|\.{1,2})?/\w(?:[\w./-]*\w)?"), _spaced(_address)),
    (re.compile(r"(?<=\d)\s+-\s+(?=\d)"), "-"),
    (re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?![:\d])(?:\s?([ap])\.?m\b)?", re.IGNORECASE), _spaced(_time)),
    (
        re.compile(rf"(?<!\d)([$£€¥₹])\s?({_AMOUNT}){_SCALE}", re.IGNORECASE),
        _spaced(lambda match: _money(match[1], match[2], match[3])),
    ),
    (
        re.compile(rf"(?<![\d.,])({_AMOUNT}){_SCALE}\s?([$£€¥₹])(?!\d)", re.IGNORECASE),
        _spaced(lambda match: _money(match[3], match[1], match[2])),
    ),
    (re.compile(r"#\s?(?=\d)"), " number "),
    (re.compile(r"\b([CF])#(?!\w)"), r"\1 sharp"),
    (re.compile(r"#(?=[^\W\d_])"), " hashtag "),
    (re.compile(r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", re.IGNORECASE), _spaced(_ordinal)),
    (re.compile(r"\b((?:1[1-9]|20)?[1-9]0|1[1-9]00)s\b"), _spaced(lambda match: _plural(_words(match[1])))),
    (re.compile(r"\b\d+(?:-\d+){2,}\b"), _spaced(lambda match: ", ".join(map(_digits, match[0].split("-"))))),
    (re.compile(r"(?<![\w.,])(\d{1,4})-(\d{1,4})\b(?![.,]\d)"), _spaced(_range)),
    (re.compile(r"(?<![\d/])([123]/[234])(?![\d/])"), _spaced(lambda match: _FRACTIONS.get(match[1], match[1]))),
    (re.compile(r"(?<![\w.)])-(?=\.?\d)"), " minus "),
    (re.compile(r"(?<=[^\W\d_])-(?=\d)"), " "),
    (re.compile(r"~\s?(?=\d)"), " about "),
    (
        re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)*|(?<![\w.])\.\d+"),
        _spaced(lambda match: _words(match[0])),
    ),
    (re.compile(r"°\s?([CF])\b"), lambda match: f" degrees {'Celsius' if match[1] == 'C' else 'Fahrenheit'}"),
    (re.compile("[" + "".join(_SIGNS) + "]"), lambda match: f" {_SIGNS[match[0]]} "),
    (re.compile(r"-+>|=+>"), " to "),
    (re.compile(r"\s<\s"), " less than "),
    (re.compile(r"\s>\s"), " greater than "),
    (re.compile(r"=+"), " equals "),
    (re.compile(r"\+"), " plus "),
    (re.compile(r"%"), " percent "),
    (re.compile(r"&+"), " and "),
    (re.compile(r"@"), " at "),
    (re.compile(r"[*_`~^|\\{}\[\]<>/#$£€¥₹]"), " "),
]


def _tidy(text: str) -> str:
    """One space between words, none before a stop, no stop twice, nothing but words and quotes at the ends."""
    text = re.sub(r"\(\s*\)", " ", text)
    text = re.sub(r"\s*-{2,}\s*|\s+-\s+", ", ", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\s+(?=[,.;:!?)])", "", text)
    text = re.sub(r"[,;:]+(?=[,;:.!?])|(?<=[.!?])[,;:]+", "", text)
    text = re.sub(r"\.{2,}", "...", text)
    text = re.sub(r"([!?])[!?.]+", r"\1", text)
    return re.sub(r"^[\s,.;:!?)-]+|[\s,;:(-]+$", "", text)
