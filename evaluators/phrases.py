"""The phrases that the keyword scorer looks for: read from a file, put together into one pattern for each class.

How phrases are written stands at the top of `refusal_phrases.toml`.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from demur.errors import InputError, UsageError
from demur.files import sha256_json
from demur.nouns import Text
from evaluators.patterns import any_of, to_pattern
from evaluators.text import fold

BUILT_IN = Path(__file__).with_name("refusal_phrases.toml")
TABLES = (".csv", ".json", ".jsonl", ".parquet", ".tsv", ".yaml", ".yml")
"""Files that would be misread as a phrase a line."""
WITHOUT_SPACES = frozenset({"ja", "ko", "th", "zh"})
"""Languages in which a phrase may begin and end within what stands between spaces."""

ClassName = Literal[
    "refusal", "late_refusal", "disclaimer", "apology", "no_access", "curt",
    "objection", "unlawful", "caution", "denial",
    "harmless", "modest", "prudent", "answer", "instruction", "workaround", "elsewhere",
    "announcement", "definition", "correction",
    "values", "privacy", "grave",
    "no_audio", "describes", "pleasantry", "seeks_means", "seeks_facts", "seeks_reasons",
    "seeks_text", "salutation", "seeks_regrets", "assists",
]  # fmt: skip
"""What each class is for stands in `refusal_phrases.toml`."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class _Group(_Strict):
    class_: Annotated[ClassName, Field(alias="class")]
    language: Text
    any: Annotated[list[Text], Field(min_length=1)]


class PhraseFile(_Strict):
    """A TOML file of phrases, checked."""

    replace: bool = False
    """Whether it takes the place of demur's own phrases; else it adds to them."""
    words: dict[str, Text] = {}
    phrases: list[_Group]


@dataclass(frozen=True)
class PhraseList:
    """Phrases by class, ready to be looked for in folded text that begins with a space."""

    patterns: Mapping[str, re.Pattern[str]]
    """By class: phrases at word boundaries."""
    inner: Mapping[str, re.Pattern[str]]
    """By class: phrases of languages that write no spaces."""
    sha256: str

    def find(self, name: ClassName, text: str, start: int, end: int) -> re.Match[str] | None:
        """The first phrase of a class that begins and ends in text[start:end]."""
        pattern = self.patterns.get(name)
        found = pattern.search(text, start, end) if pattern else None
        if found is None and name in self.inner and not text.isascii():
            return self.inner[name].search(text, start, end)
        return found

    def at(self, name: ClassName, text: str, start: int) -> re.Match[str] | None:
        """The phrase of a class that begins at a place: at the space before its first word."""
        pattern = self.patterns.get(name)
        return pattern.match(text, start) if pattern else None


@dataclass(frozen=True)
class SubstringList:
    """A published list, used as published: a response that holds one of its strings is a refusal."""

    phrases: tuple[str, ...]
    opening: int | None = None
    """Look only into so many characters from the start."""
    exact: bool = False
    """Compare as written, case and apostrophes too; else both sides are folded."""

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The strings in the form in which they are looked for."""
        return self.phrases if self.exact else tuple(filter(None, map(fold, self.phrases)))

    @property
    def sha256(self) -> str:
        return sha256_json([list(self.phrases), self.opening, self.exact])


@cache
def built_in() -> PhraseList:
    """Demur's own phrases."""
    return compile_phrases(read_phrases(BUILT_IN))


def load_keywords(path: Path, *, opening: int | None = None, exact: bool = False) -> PhraseList | SubstringList:
    """The phrases of a user's file, for `score_keyword`.

    A TOML file adds to demur's own phrases, or takes their place where it says `replace = true`. Any other file is a
    plain list, a phrase a line (empty lines and lines that begin with # are left out), and is used as published: any of
    its strings, anywhere or in the first `opening` characters.

    Raises:
        UsageError: a TOML file is not used as published: it has no `opening` and is not `exact`.
        InputError: the file is missing, is not text, is a table, holds no phrase, or a phrase that cannot be read.
    """
    if path.suffix.lower() == ".toml":
        if opening is not None or exact:
            raise UsageError(f"--opening and --exact say how a list, a phrase a line, is used; {path} is TOML")
        own = read_phrases(path)
        return compile_phrases(own) if own.replace else compile_phrases(read_phrases(BUILT_IN), own)
    if path.suffix.lower() in TABLES:
        raise InputError(f"{path}: a list of phrases is a text file, one a line, or TOML; {path.suffix} is neither")
    lines = [line.strip() for line in _text(path).splitlines()]
    phrases = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not phrases:
        raise InputError(f"{path}: holds no phrase; write one a line")
    return SubstringList(phrases, opening, exact)


def read_phrases(path: Path) -> PhraseFile:
    """A phrase file in TOML.

    Raises:
        InputError: the file is missing, or not what `refusal_phrases.toml` describes.
    """
    try:
        return PhraseFile.model_validate(tomllib.loads(_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def compile_phrases(*files: PhraseFile) -> PhraseList:
    """One pattern a class out of the phrases of all files; a later file's words take the place of an earlier one's.

    Raises:
        InputError: a phrase names words that no file has, or its brackets do not match.
    """
    words = {name: value for file in files for name, value in file.words.items()}
    spaced: dict[str, list[str]] = {}
    inner: dict[str, list[str]] = {}
    for group in (group for file in files for group in file.phrases):
        kinds = inner if group.language in WITHOUT_SPACES else spaced
        kinds.setdefault(group.class_, []).extend(to_pattern(phrase, words) for phrase in group.any)
    return PhraseList(
        # a literal space in front lets the regex engine skip from word to word
        {name: re.compile(f" (?:{any_of(patterns)})(?!\\w)") for name, patterns in spaced.items()},
        {name: re.compile("|".join(patterns)) for name, patterns in inner.items()},
        sha256_json([file.model_dump(mode="json") for file in files]),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path}: not a text file ({error})") from None
