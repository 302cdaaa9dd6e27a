"""A record that is read only when its media is needed, and what is known of each record so far."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from avssl.data.record import Record, Source, read_truth
from avssl.data.span import span_in_file
from avssl.media.clock import Clock
from avssl.media.container import OpenMedia, open_media
from avssl.media.errors import MediaError
from avssl.media.limits import Limits
from avssl.media.probe import probe

UNKNOWN = -1
# Of the time limit, what may go into decoding a record from end to end before its windows are read.
WHOLE_RECORD_SHARE = 0.5


class Handle:
    """One record for the time of one read: its file is opened once, if at all, for all views of a track."""

    def __init__(self, facts: "Facts", index: int, clock: Clock | None = None):
        self.index = index
        self._facts = facts
        # One for all that is read here: each part of it may be short and their sum long.
        self.clock = clock or Clock(facts.limits.max_decode_seconds)
        self._clock_of_wholes: Clock | None = None
        self._record: Record | None = None
        self._opened: dict[str, OpenMedia] = {}
        self._stack = contextlib.ExitStack()
        self._heard = False
        if not facts.known(index):
            facts.learn(self.record, self.clock)
        self.start_seconds = float(facts.starts[index])
        self.duration_seconds = float(facts.durations[index])
        self.has = {"video": bool(facts.has_video[index]), "audio": bool(facts.has_audio[index])}

    @property
    def record(self) -> Record:
        if self._record is None:
            self._record = self._facts.source[self.index]
        return self._record

    @property
    def truth(self) -> Mapping[str, Any]:
        """The record's; kept of one whose media, kept elsewhere, needs no reading."""
        if self._record is not None:
            return self._record.truth
        truths = self._facts.truths
        if self.index not in truths:
            truths[self.index] = read_truth(self._facts.source, self.index)
        return truths[self.index]

    @property
    def opened(self) -> OpenMedia:
        return self.opened_stream("")

    def opened_stream(self, name: str) -> OpenMedia:
        """The file, open for one of its video tracks (empty: the default one)."""
        if name not in self._opened:
            media = open_media(self.record.media, self._facts.limits, self.clock, name)
            self._opened[name] = self._stack.enter_context(media)
        return self._opened[name]

    def opened_for_sound(self) -> OpenMedia:
        """The open file with an audio decoder that has decoded nothing yet."""
        if self._heard:
            self._stack.close()
            self._opened = {}
        self._heard = True
        return self.opened

    @contextlib.contextmanager
    def again(self) -> Iterator["Handle"]:
        """The same record for work that may fail by itself, in time of its own."""
        if self._clock_of_wholes is None:
            seconds = self._facts.limits.max_decode_seconds * WHOLE_RECORD_SHARE
            self._clock_of_wholes = Clock(seconds)
        with self.clock.stopped(), Handle(self._facts, self.index, self._clock_of_wholes) as handle:
            handle._record = self.record
            yield handle

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *error: Any) -> bool | None:
        # Turns FFmpeg's errors into MediaError, as leaving `open_media` does.
        return self._stack.__exit__(*error)


class Facts:
    """Length and modalities, learnt on first sight, so that a cached record needs no file."""

    def __init__(self, source: Source, limits: Limits):
        self.source = source
        self.limits = limits
        self.starts = np.zeros(len(source))
        self.durations = np.full(len(source), np.nan)
        self.has_video = np.full(len(source), UNKNOWN, np.int8)
        self.has_audio = np.full(len(source), UNKNOWN, np.int8)
        self.truths: dict[int, Mapping[str, Any]] = {}

    def known(self, index: int) -> bool:
        return not math.isnan(self.durations[index])

    def learn(self, record: Record, clock: Clock) -> None:
        """Opens the file only for what the source does not say."""
        duration, has_video, has_audio = (
            record.duration_seconds, record.has_video, record.has_audio
        )  # fmt: skip
        if duration is None or has_video is None or has_audio is None:
            found = probe(record.media, self.limits, clock)
            if duration is None:
                start, end = span_in_file(record, found.duration_seconds)
                duration = end - start
            has_video = found.has_video if has_video is None else has_video
            has_audio = found.has_audio if has_audio is None else has_audio
        if not duration > 0:
            raise MediaError(f"no length: {duration} seconds")
        self.starts[record.index] = record.start_seconds
        self.has_video[record.index] = has_video
        self.has_audio[record.index] = has_audio
        # Last: another thread takes the record as known from here on.
        self.durations[record.index] = duration
