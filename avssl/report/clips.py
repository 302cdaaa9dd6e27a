"""Clips as a page can show and play them: a small picture and a short mono sound, each a data URI."""

import base64
import dataclasses
import io

import numpy as np
from PIL import Image

from avssl.data.pipeline import evaluation_batches
from avssl.data.record import Source
from avssl.data.views import AudioView, VideoView
from avssl.evaluate.features import Extractor
from avssl.media.encode import encode_clip

FRAME_SIZE, FRAME_QUALITY = 128, 80
# AAC at 32 kbit/s, which every common browser plays.
SOUND_RATE = 16000
MOST_SOUND_SECONDS = 3.0
BATCH_SIZE = 16


@dataclasses.dataclass(frozen=True)
class ShownClip:
    """None for what the record lacks."""

    frame: str | None
    sound: str | None


def shown_clips(
    source: Source, extractor: Extractor, indices: np.ndarray, workers: int
) -> dict[int, ShownClip]:
    """By record index: the frame in the middle and the sound of the windows that the encoders saw.

    The picture has the encoder's crop, not its size. Several channels are mixed down; of several windows the
    middle one is taken, and of long sounds the middle. What no encoder of the run looks at has a plain window.
    """
    found = {}
    with evaluation_batches(
        source, shown_views(extractor), batch_size=BATCH_SIZE, indices=np.unique(indices), workers=workers
    ) as batches:  # fmt: skip
        for batch in batches:
            for row in np.flatnonzero(batch["mask"]).tolist():
                arrays = {
                    name: array[row] if batch["present"][name][row] else None
                    for name, array in batch["views"].items()
                }
                found[int(batch["index"][row])] = ShownClip(
                    frame_uri(arrays["video"]), sound_uri(arrays["audio"])
                )
    return found


def shown_views(extractor: Extractor) -> dict[str, VideoView | AudioView]:
    """The first views that the encoders look at, with a picture and a sound that suit a page."""
    views = {
        modality: extractor.model.views[read.view]
        for modality, read in extractor.first_view.items()
    }
    video = views.get("video", VideoView(frames=1, fps=2.0)).evaluation()
    audio = views.get("audio", AudioView()).evaluation()
    return {
        "video": dataclasses.replace(video, size=FRAME_SIZE),
        "audio": dataclasses.replace(audio, rate=SOUND_RATE, channels=1),
    }


def frame_uri(frames: np.ndarray | None) -> str | None:
    """The middle one of uint8 [..., frames, height, width, 3] as a JPEG."""
    if frames is None:
        return None
    frames = frames.reshape(-1, *frames.shape[-3:])
    return picture_uri(Image.fromarray(frames[len(frames) // 2]))


def picture_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=FRAME_QUALITY, optimize=True)
    return data_uri("image/jpeg", buffer.getvalue())


def sound_uri(samples: np.ndarray | None) -> str | None:
    """int16 [..., samples, 1] as AAC in an MP4."""
    if samples is None:
        return None
    windows = samples.reshape(-1, *samples.shape[-2:])
    middle = windows[len(windows) // 2]
    most = round(MOST_SOUND_SECONDS * SOUND_RATE)
    start = max(len(middle) - most, 0) // 2
    encoded = encode_clip(None, 1, np.ascontiguousarray(middle[start : start + most]), SOUND_RATE)
    return data_uri("audio/mp4", encoded)


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
