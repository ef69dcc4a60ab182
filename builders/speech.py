"""Making the clips of a plan in worker processes, those that are not there yet."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from builders.clip import ClipPlan, SoundSettings, Studio, make_clip
from builders.engines import Engine, make_engine
from builders.plan import BuildPlan
from builders.pool import WorkerLost, run_pool
from builders.store import ClipHeader, ClipStore
from demur.console import progress
from demur.errors import EngineError, EngineUnavailable, IncompleteError

HOPELESS = 3
"""A voice that raised on every one of its first so many texts is broken: going on would only have others fill in."""
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
    voices = _VoiceWatch(store)
    for header in headers.values():
        voices.see(header)
    undone: list[str] = []
    in_a_row = 0
    start = partial(_start_worker, plan.settings.sound, plan.settings.engine_options, store.folder)
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
                voices.see(done.result)
                voices.stop_if_broken(HOPELESS)
            bar.update()
    voices.stop_if_broken(1)
    if undone:
        left = len(plan.clips) - len(headers)
        raise IncompleteError(
            f"{left} of {len(plan.clips)} clips are not made yet ({undone[0]}); run the same command again"
        )
    return headers


class _VoiceWatch:
    """Which voices raised, and which have ever spoken."""

    def __init__(self, store: ClipStore) -> None:
        self.store = store
        self.spoke: set[str] = set()
        self.raised: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def see(self, header: ClipHeader) -> None:
        self.spoke.update(take.voice for take in header.takes)
        for attempt in header.failed:
            if attempt.reason == "engine_error":
                self.raised[attempt.voice].append((header.key, str(attempt.numbers.get("message"))))
            else:
                self.spoke.add(attempt.voice)

    def stop_if_broken(self, patience: int) -> None:
        """End the build on a voice that only raised, and forget the clips that others spoke in its place."""
        for voice, failures in self.raised.items():
            if voice not in self.spoke and len({key for key, _ in failures}) >= patience:
                for key, _ in failures:
                    self.store.discard(key)
                raise EngineError(
                    f"voice {voice} cannot speak: {failures[0][1]}; mend it or leave it out with --voices"
                )


def _start_worker(
    sound: SoundSettings, engine_options: Mapping[str, dict[str, str]], clips: Path
) -> Callable[[ClipPlan], ClipHeader]:
    """Load what a process needs; gives what it does with each plan."""
    from demur.asr import Transcriber

    hears = Transcriber(sound.asr) if sound.asr else None
    return partial(_work, studio=Studio(sound, _Engines(engine_options), hears), store=ClipStore(clips))


def _work(plan: ClipPlan, *, studio: Studio, store: ClipStore) -> ClipHeader:
    return store.save(make_clip(plan, studio))


class _Engines(dict[str, Engine]):
    """Engines by name, each made when it is first called for."""

    def __init__(self, options: Mapping[str, dict[str, str]]) -> None:
        super().__init__()
        self.options = options

    def __missing__(self, name: str) -> Engine:
        self[name] = make_engine(name, self.options.get(name, {}))
        return self[name]
