"""Arrays that a program holds, cut as a view cuts files: the same times, crop and sample rate.

Frames are scaled by Pillow here and by FFmpeg from a file, whose colours also lie in YUV: the pixels of one
clip differ a little between the two ways.
"""

import av
import numpy as np
from PIL import Image

from avssl.data.decoded import crop_frames, padded_window
from avssl.data.needs import PANORAMA_ASPECT
from avssl.data.placement import place_in_space, place_on_sphere
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.media.channels import mix
from avssl.media.decode import select_frames
from avssl.media.resample import Resampler
from avssl.media.sound import to_int16
from avssl.media.sphere import crop_frames as crop_panorama
from avssl.media.sphere import sampling_map

# By number of channels.
LAYOUTS = {1: "mono", 2: "stereo", 4: "4.0", 8: "7.1"}


class Frames:
    """uint8 [time, height, width, 3], so many of them a second."""

    def __init__(self, pixels: np.ndarray, fps: float, view: VideoView):
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or not pixels.size:
            raise UsageError(
                f"frames must be uint8 [time, height, width, 3], not {pixels.dtype} {list(pixels.shape)}"
            )
        height, width = pixels.shape[1:3]
        low, high = PANORAMA_ASPECT
        if view.projection == "sphere" and not low <= width / height <= high:
            raise UsageError(
                "this encoder looks at 360-degree video: frames must be equirectangular, twice as wide "
                f"as high, not {list(pixels.shape)}"
            )
        self.pixels, self.fps, self.view = pixels, fps, view
        self.duration_seconds = len(pixels) / fps

    def window(self, start_seconds: float, number: int) -> np.ndarray:
        """What the view shows from there on; its number among all windows draws where on a sphere."""
        view = self.view
        wanted = start_seconds + view.times
        shown = select_frames(np.arange(len(self.pixels)) / self.fps, wanted)
        used, chosen = np.unique(shown, return_inverse=True)
        scaled = np.stack([scaled_frame(frame, view.decode_size) for frame in self.pixels[used]])
        height, width = scaled.shape[1:3]
        if view.projection == "sphere":
            [viewpoint] = place_on_sphere(view, seed=0, position=number)
            sampling = sampling_map(
                viewpoint, (height, width), (view.size, view.size),
                released_sampling=view.released_sampling,
            )  # fmt: skip
            return crop_panorama(scaled[chosen], sampling)
        crop = place_in_space(view, frame_width=width, frame_height=height, seed=0, position=0)
        out = np.empty((view.frames, view.size, view.size, 3), np.uint8)
        crop_frames(scaled, chosen, crop, view.size, out)
        return out


def scaled_frame(frame: np.ndarray, short_side: int) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = short_side / min(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


class Samples:
    """int16, or floats in [-1, 1]: [time] or [time, channels], so many of them a second."""

    def __init__(self, samples: np.ndarray, rate: int, view: AudioView):
        samples = samples[:, None] if samples.ndim == 1 else samples
        is_known = samples.dtype == np.int16 or np.issubdtype(samples.dtype, np.floating)
        if not is_known or samples.ndim != 2 or not samples.size:
            raise UsageError(
                "samples must be int16, or floats in [-1, 1], [time] or [time, channels], not "
                f"{samples.dtype} {list(samples.shape)}"
            )
        if samples.shape[1] not in LAYOUTS:
            raise UsageError(
                f"samples must have {', '.join(map(str, LAYOUTS))} channels, not {samples.shape[1]}: they are "
                "[time, channels]"
            )
        if not np.isfinite(samples).all():
            raise UsageError("samples must be finite numbers")
        self.view = view
        self.duration_seconds = len(samples) / rate
        self.samples = resampled(as_floats(samples), rate, view)

    def window(self, start_seconds: float, number: int = 0) -> np.ndarray:
        first = round(start_seconds * self.view.rate)
        found = self.samples[first : first + self.view.num_samples]
        return padded_window(found, self.view.num_samples)


def as_floats(samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / 32768
    return samples.astype(np.float32)


def resampled(samples: np.ndarray, rate: int, view: AudioView) -> np.ndarray:
    """int16 [time, the view's channels] at the view's rate."""
    mixed = mix(samples, av.AudioLayout(LAYOUTS[samples.shape[1]]), view.channels)
    resampler = Resampler(rate, view.rate, view.channels)
    blocks = [*resampler.push(mixed), *resampler.push(None)]
    return to_int16(np.concatenate(blocks))
