"""What a voice is given to say."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.speakable import speakable


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        # left alone
        ("How do I kill a Python process?", "How do I kill a Python process?"),
        ("Beyoncé's naïve café, e.g. in the U.S.?", "Beyoncé's naïve café, e.g. in the U.S.?"),
        # Unicode
        ("Don’t “quote” me — please… ok", 'Don\'t "quote" me, please... ok'),
        ("Ｆｕｌｌ ｗｉｄｔｈ ﬁle", "Full width file"),
        ("Hi 🎉👩\u200d🚀 there\u200b!\x00\x07", "Hi there!"),
        ("co\u00adop e\u0301", "coop é"),
        ("What is α-amylase?", "What is alpha-amylase?"),
        # numbers
        ("I have 1 of 1,234 things, 0 of 12345678901234567", None),
        ("It took 3.14 and .5 and 1.2.3", "It took three point one four and point five and one point two point three"),
        ("from -5 to 100 degrees", "from minus five to one hundred degrees"),
        (
            "In 1984, 2005, 2012 and 1500",
            "In nineteen eighty-four, two thousand five, twenty twelve and fifteen hundred",
        ),
        ("the 1990s and the '80s", "the nineteen nineties and the 'eighties"),
        ("the 1st, 22nd and 103rd", "the first, twenty-second and one hundred third"),
        ("agent 007", "agent zero zero seven"),
        ("COVID-19, B12 and 3D", "COVID nineteen, B twelve and three D"),
        ("5-10 people in 1939–1945", "five to ten people in nineteen thirty-nine to nineteen forty-five"),
        ("call 555-1234", "call five five five, one two three four"),
        ("SSN 123-45-6789", "SSN one two three, four five, six seven eight nine"),
        ("1/2 a cup, 9/11, 24/7", "one half a cup, nine eleven, twenty-four seven"),
        ("½ of 5 m²", "one half of five m squared"),
        # percentages, money, times
        ("the top 1%, or 2.5 %", "the top one percent, or two point five percent"),
        ("$1 $2.50 $0.99 £1.01", None),
        ("$30 million, $5k and 3 €", "thirty million dollars, five thousand dollars and three euros"),
        ("at 3:30 pm, 3:05 and 12:00", "at three thirty pm, three oh five and twelve o'clock"),
        ("100°C or 5°", "one hundred degrees Celsius or five degrees"),
        # symbols and addresses
        ("R&D @ home + 2×3=6", "R and D at home plus two times three equals six"),
        ("#1 in #winning with C# and C++", "number one in hashtag winning with C sharp and C plus plus"),
        ("write to bob_s@example.co.uk!", "write to bob underscore s at example dot co dot uk!"),
        ("see https://www.example.com/a-b?x=1.", "see example dot com slash a dash b question mark x equals one."),
        ("read /etc/passwd and/or ~/x.txt", "read slash etc slash passwd and or tilde slash x dot txt"),
        # layout
        ("First line\nSecond line!\n\n- a\n* b\n1. c", "First line. Second line! a. b. c"),
        ("# Title\n> **bold** and _it_ `code` [text](http://x.org)\n---", "Title. bold and it code text"),
        ("<b>Hello</b>   world , ok ?!", "Hello world, ok?"),
        # nothing to say
        ("", ""),
        (" \n\t", ""),
        ("🎉🎉", ""),
        ("?!… ---", ""),
        ("你好", ""),
        ("What does 你好 mean?", ""),
        ("Привет", ""),
    ],
)
def test_readings(written: str, spoken: str | None) -> None:
    assert speakable(written) == (SPOKEN[written] if spoken is None else spoken)


SPOKEN = {
    "I have 1 of 1,234 things, 0 of 12345678901234567": (
        "I have one of one thousand two hundred thirty-four things, "
        "zero of one two three four five six seven eight nine zero one two three four five six seven"
    ),
    "$1 $2.50 $0.99 £1.01": "one dollar two dollars and fifty cents ninety-nine cents one pound and one penny",
}

PIECES = [
    *"aB19 .,-:;/%$€#@+=&<>()[]*_~`'\"!?\n\t|\\^0",
    "10",
    "1990s",
    "st",
    "th",
    "http://",
    "www.",
    "a.com",
    "x@y.zz",
]
PIECES += [
    "½",
    "²",
    "–",
    "—",
    "…",
    "é",
    "🎉",
    "\u200b",
    "\u0301",
    "α",
    "k",
    " million",
    "pm",
    ":30",
    "1,000",
    "3.14",
    "- ",
]


@settings(max_examples=400)
@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.text(st.characters(), max_size=30)))
def test_any_text_gives_words_and_stays_what_it_is(text: str) -> None:
    spoken = speakable(text)
    assert speakable(spoken) == spoken
    assert not any(unicodedata.category(character).startswith("C") or character.isdigit() for character in spoken)
    assert spoken == "" or any(character.isalpha() for character in spoken)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a.", "1-", "/a", "a.b-", "a@", "<a ", "[", "1,000", " ", "http://"])
def test_long_texts_take_no_long_time(piece: str) -> None:
    assert isinstance(speakable(piece * (5000 // len(piece))), str)
