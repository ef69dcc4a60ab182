"""Making the clips of a plan in worker processes, those that are not there yet."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from builders.clip import ClipPlan, Studio, make_clip
from builders.engines import Engine, make_engine
from builders.plan import BuildPlan, BuildSettings
from builders.pool import WorkerLost, run_pool
from builders.store import ClipHeader, ClipStore
from demur.asr import Transcriber, prepare
from demur.console import progress
from demur.errors import EngineError, EngineUnavailable, IncompleteError

PROBE = "Please read this sentence aloud."
"""A voice that cannot say even this is broken: going on would only have others fill in for it."""
GIVE_UP = 5
"""So many clips in a row that hang, or whose engine is out of reach: the next run may be luckier."""


def make_clips(
    plan: BuildPlan, store: ClipStore, *, workers: int, timeout_s: float, quiet: bool
) -> dict[str, ClipHeader]:
    """The headers of all clips by key, the missing ones made now.

    Raises:
        EngineError: a voice is broken.
        IncompleteError: some clips hung, or their engine was out of reach; all others are kept.
    """
    headers = {clip.key: header for clip in plan.clips if (header := store.header(clip.key))}
    missing = [clip for clip in plan.clips if clip.key not in headers]
    if missing and plan.settings.sound.asr:
        prepare(plan.settings.sound.asr)  # here and not in every worker, where a slow download would look like a hang
    _prepare_voices({voice for clip in missing for voice in clip.voices}, plan.settings)
    undone: list[str] = []
    in_a_row = 0
    start = partial(_start_worker, plan.settings, store.folder)
    with progress(total=len(plan.clips), what="speech", unit="clip", quiet=quiet) as bar:
        bar.update(len(headers))
        for done in run_pool(missing, start, workers=min(workers, len(missing)), timeout_s=timeout_s):
            if isinstance(done.error, EngineUnavailable | WorkerLost):
                undone.append(f"{done.task.text[:40]!r}: {done.error}")
                in_a_row += 1
                if in_a_row == GIVE_UP:
                    break
            elif done.error is not None:
                raise done.error
            else:
                in_a_row = 0
                headers[done.task.key] = done.result
            bar.update()
    if undone:
        left = len(plan.clips) - len(headers)
        raise IncompleteError(
            f"{left} of {len(plan.clips)} clips are not made yet ({undone[0]}); run the same command again"
        )
    return headers


def _prepare_voices(specs: Iterable[str], settings: BuildSettings) -> None:
    """Fetch what the voices need, for engines that fetch anything."""
    engines = _Engines(settings.engine_options)
    voices: dict[str, set[str]] = {}
    for spec in specs:
        name, _, voice = spec.partition(":")
        voices.setdefault(name, set()).add(voice)
    for name, names in voices.items():
        if fetch := getattr(engines[name], "prepare", None):
            fetch(names)


def _start_worker(settings: BuildSettings, clips: Path) -> Callable[[ClipPlan], ClipHeader]:
    """Load what a process needs; gives what it does with each plan."""
    hears = Transcriber(settings.sound.asr) if settings.sound.asr else None
    studio = Studio(settings.sound, settings.seed, _Engines(settings.engine_options), hears)
    return partial(_work, studio=studio, store=ClipStore(clips), sound_voices=set())


def _work(plan: ClipPlan, *, studio: Studio, store: ClipStore, sound_voices: set[str]) -> ClipHeader:
    """Make a clip and save it, unless a voice that failed on it turns out to be broken."""
    clip = make_clip(plan, studio)
    sound_voices.update(take.voice for take in clip.takes)
    for voice in {attempt.voice for attempt in clip.failed if attempt.reason == "engine_error"} - sound_voices:
        _probe(voice, studio)
        sound_voices.add(voice)
    return store.save(clip)


def _probe(voice: str, studio: Studio) -> None:
    try:
        studio.speak(ClipPlan(prompt_id="probe", slot=0, text=PROBE, voices=(voice,)), voice, 0)
    except EngineUnavailable:
        raise
    except Exception as error:
        raise EngineError(f"voice {voice} cannot speak: {error}; mend it or leave it out with --voices") from None


class _Engines(dict[str, Engine]):
    """Engines by name, each made when it is first called for."""

    def __init__(self, options: Mapping[str, dict[str, str]]) -> None:
        super().__init__()
        self.options = options

    def __missing__(self, name: str) -> Engine:
        self[name] = make_engine(name, self.options.get(name, {}))
        return self[name]
