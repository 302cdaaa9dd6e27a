"""What a file may cost before it is refused."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on one file and on one call.

    `max_pixels` is per frame, before and after scaling: 4096 x 2304 lets 4K through and refuses 8K.
    `max_decode_seconds` is processor time of one call, so whole-file work (`transcode`) may want
    more.
    """

    max_pixels: int = 4096 * 2304
    max_duration_seconds: float = 4 * 3600.0
    max_decode_seconds: float = 30.0
    max_bytes: int = 4 * 1024**3


DEFAULT_LIMITS = Limits()
