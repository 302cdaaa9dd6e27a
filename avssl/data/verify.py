"""`avssl data verify`: decodes everything and says what is bad."""

import dataclasses
import math

from tqdm import tqdm

from avssl.data.deadline import killed_after, reason_of
from avssl.data.open import open_checked
from avssl.data.record import Source
from avssl.data.span import span_in_file
from avssl.media.decode import decode_audio, decode_frames
from avssl.media.errors import MediaError
from avssl.media.limits import DEFAULT_LIMITS, Limits
from avssl.media.probe import Probe, probe
from avssl.media.sandbox import ChildPool, Failure
from avssl.media.transcode import check_whole

# An hour of frames does not fit into memory: it is decoded and forgotten piece by piece.
PIECE_SECONDS = 20.0
SHORT_SIDE = 64
AUDIO_RATE = 16000
CHILD_MEMORY_BYTES = 1536 << 20
GRACE_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Verifier:
    """Decodes all of record number `index`, in a child process; raises MediaError if it is bad."""

    source: Source
    limits: Limits

    def __call__(self, index: int) -> None:
        with killed_after(self.limits.max_decode_seconds + GRACE_SECONDS):
            record = self.source[index]
            found = probe(record.media, self.limits)
        for name, has, said in (
            ("video", found.has_video, record.has_video),
            ("audio", found.has_audio, record.has_audio),
        ):
            if said and not has:
                raise MediaError(f"the data set says that it has {name}, but it has none")
        with killed_after(self.limits.max_decode_seconds + GRACE_SECONDS):
            check_whole(record.media, self.limits)
        first, last = span_in_file(record, found.duration_seconds)
        for piece in range(math.ceil((last - first) / PIECE_SECONDS)):
            start = first + piece * PIECE_SECONDS
            with killed_after(2 * self.limits.max_decode_seconds + GRACE_SECONDS):
                self._decode(record.media, found, start, min(start + PIECE_SECONDS, last))

    def _decode(self, media: bytes | str, found: Probe, start: float, end: float) -> None:
        for stream in ("", *found.video_streams) if found.has_video else ():
            decode_frames(
                media,
                start_seconds=start,
                end_seconds=end,
                short_side=SHORT_SIDE,
                stream=stream,
                limits=self.limits,
            )
        if found.has_audio:
            decode_audio(
                media,
                start_seconds=start,
                seconds=end - start,
                rate=AUDIO_RATE,
                channels=1,
                limits=self.limits,
            )


def verify(
    spec: str, workers: int = 0, *, allow_outside: bool = False, limits: Limits = DEFAULT_LIMITS
) -> list[tuple[str, str]]:
    """(key, reason) of every record that cannot be decoded from its first to its last second.

    Every record is opened in a child process (one with `workers=0`); a file that kills or hangs it
    is bad. A data set whose shards are not those of its metadata is refused before the first.
    """
    source = open_checked(spec, allow_outside=allow_outside)
    pool = ChildPool(
        max(1, workers),
        Verifier(source, limits),
        timeout_seconds=limits.max_duration_seconds,
        memory_bytes=CHILD_MEMORY_BYTES,
    )
    bad = {}
    with pool, tqdm(total=len(source), desc="verify", unit="clip", disable=None) as bar:
        for index, outcome in pool.map(range(len(source))):
            if isinstance(outcome, Failure):
                bad[index] = (source.key(index), reason_of(outcome))
            bar.update()
    return [bad[index] for index in sorted(bad)]
