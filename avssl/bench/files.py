"""Files as cameras and platforms leave them, to measure reading on (`avssl bench files`).

What makes them slow to read from the middle is what `avssl data build` takes away: frames larger than views
show, a keyframe every ten seconds, and frames that refer to later ones.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import av
import av.codec.context
import numpy as np
from etils import epath

from avssl.bench.camera import (
    FRAMES_PER_SECOND,
    HEIGHT,
    SAMPLES_PER_SECOND,
    WIDTH,
    pictures,
    sound,
)
from avssl.data.cache import write_whole
from avssl.errors import UsageError
from avssl.media.still import BITEXACT

GOP = 250
# Several threads give other bytes; mbtree reads memory that nobody wrote where rows are short.
H264 = {
    "preset": "medium",
    "crf": "23",
    "threads": "1",
    "x264-params": f"keyint={GOP}:min-keyint={GOP}:scenecut=0:mbtree=0",
}
LOWEST_HERTZ, HERTZ_APART = 200, 30


def bench_files(folder: Path, *, num_files: int = 48, seconds: int = 10) -> Iterator[str]:
    """Writes them, the same bytes on every call, into a folder that has no others; lines for a person."""
    names = [f"clip{number:02d}.mp4" for number in range(num_files)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = {path.name for path in folder.iterdir()}.difference(names)
        if others:
            raise UsageError(
                f"'{folder}' has other files, such as '{min(others)}', which would be read as well: give a "
                "folder of its own"
            )
        for number, name in enumerate(names):
            content = file_of_camera(number, seconds)
            write_whole(epath.Path(folder) / name, content)
            yield f"{folder / name}  {len(content):,} bytes"
    except OSError as error:
        raise UsageError(
            f"cannot write files to '{folder}' ({error.strerror}): give another folder"
        ) from error


def file_of_camera(number: int, seconds: int) -> bytes:
    """H.264 with B-frames and AAC in MP4."""
    draws = np.random.default_rng(number)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=BITEXACT) as file:
        video = file.add_stream("libx264", rate=FRAMES_PER_SECOND, options=H264)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = file.add_stream("aac", rate=SAMPLES_PER_SECOND, layout="stereo")
        for stream in (video, audio):
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact.value
        for picture in pictures(draws, FRAMES_PER_SECOND * seconds):
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(video.encode(None))
        samples = sound(draws, LOWEST_HERTZ + HERTZ_APART * number, seconds)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
        frame.sample_rate = SAMPLES_PER_SECOND
        file.mux(audio.encode(frame))
        file.mux(audio.encode(None))
    return buffer.getvalue()
