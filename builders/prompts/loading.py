"""From what the user named to a checked set of prompts; nothing is dropped without being counted."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from builders.prompts.files import SUFFIXES, read_tables
from builders.prompts.generic import read_rows
from builders.prompts.hub import load_tables
from builders.prompts.source import Item, Source, Table, TableOptions
from demur import plugins
from demur.errors import InputError
from demur.nouns import Label, Prompt, prompt_id

SHOWN_TEXT = 300
"""Characters of a rejected text that are kept; such a text can be a whole book."""
UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True)
class Rejection:
    """A row that is no usable prompt. `reason`: `empty`, `not text`, `too long` or `label conflict`."""

    prompt_id: str
    text: str
    """Its beginning, where it is long."""
    label: Label
    source: str
    reason: str
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """A line of `rejected.jsonl`."""
        line = asdict(self)
        return {"prompt": line.pop("text"), **line, "label": str(self.label)}


@dataclass(frozen=True)
class InputFile:
    """A table that was read, for the manifest."""

    name: str
    sha256: str
    rows: int
    source: str
    license: str

    def as_dict(self) -> dict[str, Any]:
        """An entry of the manifest."""
        return asdict(self)


@dataclass
class PromptSet:
    """Prompts, each once, and the whereabouts of every other row that was read."""

    prompts: list[Prompt] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    merged: Counter[str] = field(default_factory=Counter)
    """By source: rows whose prompt stood before, with the same label."""
    left_out: Counter[str] = field(default_factory=Counter)
    """By `source: reason`: rows that are no prompts for this purpose."""
    unpaired: Counter[str] = field(default_factory=Counter)
    """By source: prompts that are kept without their `pair_id`, because their twin is not there."""
    inputs: list[InputFile] = field(default_factory=list)


def load_prompts(specs: Sequence[str], options: TableOptions | None = None) -> PromptSet:
    """Read every spec, in order, into one set.

    A spec is a registered name (`demur-core`, `xstest`) or a part of one (`demur-core:test`); a file or folder, whose
    format is recognised by content; `NAME=PATH` or `NAME:PATH`, which says the format; or a Hugging Face dataset
    (`owner/name`, `owner/name/config`, `owner/name:split`). Where `text_column` or `label_column` is given, files and
    datasets without a NAME are read by these columns, whatever they look like.

    The same text under one label is merged (the first wins), under two labels every row of it is rejected. `pair_id`
    stays only where exactly one harmful and one borderline prompt have it.

    Raises:
        InputError: a spec names nothing, or what it names cannot be read.
    """
    options = options or TableOptions()
    found = PromptSet()
    drafts: list[Prompt] = []
    for spec in specs:
        for table, source, license_, items in _open(spec, options):
            found.inputs.append(InputFile(table.name, table.sha256, len(table.rows), source, license_))
            drafts += _check(items, source, license_, options, found)
    _settle(drafts, found)
    found.prompts = list(_pair(found.prompts, found.unpaired))
    return found


def _open(spec: str, options: TableOptions) -> Iterator[tuple[Table, str, str, Iterator[Item]]]:
    """The tables that a spec names, with the name of their source, its licence and their rows."""
    source, tables = _resolve(spec)
    by_columns = options.text_column is not None or options.label_column is not None
    for table in tables:
        known = source or (None if by_columns else _recognise(table))
        if known is None:
            yield table, _own_name(table), UNKNOWN_LICENSE, _own_pairs(read_rows(table, options), spec)
        else:
            yield table, known.name, known.license, known.read(table, options.label)


def _own_pairs(items: Iterable[Item], spec: str) -> Iterator[Item]:
    """Pairs of one spec alone: what the user names in another may number its pairs from one, too."""
    for item in items:
        yield item._replace(pair_id=item.pair_id and f"{Path(spec).name}:{item.pair_id}")


def _resolve(spec: str) -> tuple[Source | None, list[Table]]:
    """The tables that a spec names, and their source where the spec says it."""
    named = re.fullmatch(r"([\w-]+)(?:([=:])(.+))?", spec)
    if named and named[1] in plugins.names(plugins.SOURCES):
        return _named(spec, named[1], named[2], named[3])
    if Path(spec).exists():
        return None, read_tables(Path(spec))
    hub = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?::([\w.-]+))?", spec)
    if hub and not spec.startswith(".") and not spec.lower().endswith(SUFFIXES):
        return None, load_tables(hub[1], hub[2], hub[3])
    sources = ", ".join(plugins.names(plugins.SOURCES))
    raise InputError(f"{spec}: no such file or folder, and no prompt source of that name; there are: {sources}")


def _named(spec: str, name: str, sign: str | None, rest: str | None) -> tuple[Source, list[Table]]:
    source: Source = plugins.find(plugins.SOURCES, name)
    if rest and (sign == "=" or Path(rest).exists()):
        return source, read_tables(Path(rest))
    try:
        return source, source.published(rest)
    except InputError as error:
        raise InputError(f"{spec}: {error}") from None


def _own_name(table: Table) -> str:
    """What a set of the user's own is called: its file without the suffix, or `owner/name`."""
    is_file = table.name.lower().endswith(SUFFIXES)
    return table.name.rpartition(".")[0] if is_file else "/".join(table.name.split("/")[:2])


def _recognise(table: Table) -> Source | None:
    sources: Iterable[Source] = (plugins.find(plugins.SOURCES, name) for name in plugins.names(plugins.SOURCES))
    known = [source for source in sources if source.recognises(table)]
    if len(known) > 1:
        names = " and ".join(source.name for source in known)
        raise InputError(f"{table.name}: looks like {names}; say which with NAME=PATH")
    return known[0] if known else None


def _check(
    items: Iterable[Item], source: str, license_: str, options: TableOptions, found: PromptSet
) -> Iterator[Prompt]:
    for number, item in enumerate(items, 1):
        if item.left_out:
            found.left_out[f"{source}: {item.left_out}"] += 1
            continue
        fault = _fault(item.text, options)
        if fault:
            reason, detail = fault
            found.rejected.append(_reject(item.text, item.label, source, reason, f"row {number}: {detail}"))
            continue
        yield Prompt(
            text=item.text,
            label=item.label,
            category=item.category,
            source=source,
            license=license_,
            pair_id=item.pair_id,
            kind=item.kind,
            partition=item.partition,
        )


def _fault(text: Any, options: TableOptions) -> tuple[str, str] | None:
    """Why a cell cannot be a prompt: reason and detail; None where it can."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return "empty", "there is no text"
    if not isinstance(text, str):
        return "not text", f"a {type(text).__name__} stands where the text should be"
    if len(text) > options.max_characters:
        return "too long", f"{len(text)} characters, the limit is {options.max_characters}"
    if len(text.split()) > options.max_words:
        return "too long", f"{len(text.split())} words, the limit is {options.max_words}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not text", "half of a surrogate pair, which no file can hold"
    return None


def _reject(value: Any, label: Label, source: str, reason: str, detail: str) -> Rejection:
    text = "" if value is None else str(value).encode(errors="replace").decode()
    shown = text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}…"
    return Rejection(prompt_id(text), shown, label, source, reason, detail)


def _settle(drafts: Sequence[Prompt], found: PromptSet) -> None:
    """Keep each text once; where its labels differ, nowhere."""
    keys = [draft.prompt_id for draft in drafts]
    labels: defaultdict[str, set[Label]] = defaultdict(set)
    for key, draft in zip(keys, drafts, strict=True):
        labels[key].add(draft.label)
    seen: set[str] = set()
    for key, draft in zip(keys, drafts, strict=True):
        if len(labels[key]) > 1:
            detail = f"labelled {draft.label} here, in all: {', '.join(sorted(labels[key]))}"
            found.rejected.append(_reject(draft.text, draft.label, draft.source, "label conflict", detail))
        elif key in seen:
            found.merged[draft.source] += 1
        else:
            seen.add(key)
            found.prompts.append(draft)


def _pair(prompts: Sequence[Prompt], unpaired: Counter[str]) -> Iterator[Prompt]:
    members: defaultdict[str, list[Label]] = defaultdict(list)
    for prompt in prompts:
        if prompt.pair_id is not None:
            members[prompt.pair_id].append(prompt.label)
    for prompt in prompts:
        if prompt.pair_id is None or sorted(members[prompt.pair_id]) == [Label.BORDERLINE, Label.HARMFUL]:
            yield prompt
        else:
            unpaired[prompt.source] += 1
            yield prompt.model_copy(update={"pair_id": None})
