"""Who speaks what: voices chosen by pattern and dealt to prompts evenly.

A model must not be able to tell harmful from benign by the voice, so twins share their voices, and within every label
and category the voices occur equally often: counts differ by one at most among twins, and by one among single prompts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from builders.engines import Engine, Voice, make_engine
from demur import plugins
from demur.errors import UsageError
from demur.nouns import Prompt
from demur.seeds import shuffled

UNDERSTUDIES = 2
"""Voices that stand by for each clip; a clip is rejected before a third would be called."""
MOST_NAMED = 20
"""Voices in a message."""


@dataclass(frozen=True)
class Part:
    """One clip to make: the voice that should speak it, and those to try in turn if it fails."""

    voice: Voice
    understudies: tuple[Voice, ...]


def parse_engine_options(given: Iterable[str]) -> dict[str, dict[str, str]]:
    """`ENGINE.KEY=VALUE` strings as options by engine.

    >>> parse_engine_options(["piper.model=a.onnx"])
    {'piper': {'model': 'a.onnx'}}
    """
    options: dict[str, dict[str, str]] = defaultdict(dict)
    for text in given:
        name, equals, value = text.partition("=")
        engine, dot, key = name.partition(".")
        if not (equals and dot and engine and key):
            raise UsageError(
                f"--engine-option {text!r}: write it as ENGINE.KEY=VALUE, for example piper.model=voice.onnx"
            )
        if engine not in plugins.names(plugins.ENGINES):
            known = ", ".join(plugins.names(plugins.ENGINES))
            raise UsageError(f"--engine-option {text!r}: no engine named {engine!r}; there are: {known}")
        options[engine][key] = value
    return dict(options)


def choose_voices(
    patterns: Sequence[str], options: Mapping[str, Mapping[str, str]]
) -> tuple[list[Voice], dict[str, Engine]]:
    """The voices that match any of the patterns (`hibari:*`, `espeak:en-gb*`), and their engines by name.

    Raises:
        UsageError: a pattern is not ENGINE:PATTERN, its engine does not exist, or it matches none of its voices.
    """
    engines: dict[str, Engine] = {}
    chosen: dict[str, Voice] = {}
    for pattern in patterns:
        name, colon, _ = pattern.partition(":")
        if not colon:
            raise UsageError(f"--voices {pattern!r}: write it as ENGINE:VOICE, for example {pattern}:*")
        if name not in plugins.names(plugins.ENGINES):
            known = ", ".join(plugins.names(plugins.ENGINES))
            raise UsageError(f"--voices {pattern!r}: no engine named {name!r}; there are: {known}")
        if name not in engines:
            engines[name] = make_engine(name, options.get(name, {}))
        offered = engines[name].voices()
        matching = [voice for voice in offered if fnmatchcase(voice.spec, pattern)]
        if not matching:
            some = ", ".join(voice.spec for voice in offered[:MOST_NAMED])
            more = "" if len(offered) <= MOST_NAMED else ", …; --list-voices shows them all"
            raise UsageError(f"--voices {pattern!r} matches no voice of {name}, which has {len(offered)}: {some}{more}")
        chosen.update((voice.spec, voice) for voice in matching)
    return [chosen[spec] for spec in sorted(chosen)], engines


def cast_voices(
    prompts: Sequence[Prompt], voices: Sequence[Voice], per_prompt: int, seed: int
) -> dict[str, list[Part]]:
    """The parts of every prompt, by prompt_id; a prompt in a language that no voice speaks gets none.

    Raises:
        UsageError: more voices are asked for each prompt than there are.
    """
    if per_prompt < 1 or per_prompt > len(voices):
        raise UsageError(f"--voices-per-prompt {per_prompt}: there are {len(voices)} voices to choose from")
    cast: dict[str, list[Part]] = {}
    next_voice: dict[tuple[str, ...], int] = defaultdict(int)
    able = {language: _able(voices, language, seed) for language in {prompt.language for prompt in prompts}}
    for labels, language, members in _units(prompts, seed):
        first = next_voice[*labels, language]
        next_voice[*labels, language] += per_prompt
        count = len(able[language])
        turn = [able[language][(first + step) % count] for step in range(min(count, per_prompt * (1 + UNDERSTUDIES)))]
        leads, understudies = turn[:per_prompt], turn[per_prompt:]
        parts = [Part(voice, tuple(understudies[slot :: len(leads)])) for slot, voice in enumerate(leads)]
        for member in members:
            cast[member.prompt_id] = parts
    return cast


def _able(voices: Sequence[Voice], language: str, seed: int) -> list[Voice]:
    """The voices that speak a language, in the order in which they are dealt."""
    return shuffled(
        (voice for voice in voices if _speaks(voice, language)), "voices", seed, key=lambda voice: voice.spec
    )


def _units(prompts: Sequence[Prompt], seed: int) -> list[tuple[tuple[str, ...], str, list[Prompt]]]:
    """Prompts that must share their voices, with their labels and language; category by category, shuffled within."""
    joined: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        joined[prompt.pair_id or prompt.prompt_id].append(prompt)
    units = [
        (tuple(sorted(member.label for member in members)), members[0].language, members) for members in joined.values()
    ]
    mixed = shuffled(units, "cast", seed, key=lambda unit: min(member.prompt_id for member in unit[2]))
    return sorted(mixed, key=lambda unit: (unit[0], unit[1], unit[2][0].category))


def _speaks(voice: Voice, language: str) -> bool:
    return voice.language.lower().partition("-")[0] == language.lower().partition("-")[0]
