"""Clips as pictures: a contact sheet of frames, and spectrograms of sound."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from avssl.data.keys import printable

TILE = 112
CAPTION = 14
GAP = 4
BACKGROUND = (24, 24, 28)
INK = (220, 220, 220)
FFT_SAMPLES = 512
HOP_SAMPLES = 160
FLOOR_DECIBEL = -80.0
# Dark to bright, so that the picture reads in grey, too.
_COLOURS = np.array(
    [(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], np.float64
)


def contact_sheet(clips: Sequence[tuple[str, np.ndarray | None]], columns: int = 2) -> Image.Image:
    """Each clip (caption, frames uint8 [n, h, w, 3] or None) as a strip of its frames."""
    num_frames = max((len(frames) for _, frames in clips if frames is not None), default=1)
    strips = [(caption, _strip(frames, num_frames)) for caption, frames in clips]
    return _grid(strips, columns)


def spectrogram_sheet(
    clips: Sequence[tuple[str, np.ndarray | None]], rate: int, columns: int = 2
) -> Image.Image:
    """Each clip (caption, samples int16 [n] or None) as its power over time and pitch."""
    width = 4 * TILE
    rows = []
    for caption, samples in clips:
        if samples is None or len(samples) < FFT_SAMPLES:
            picture = Image.new("RGB", (width, TILE), BACKGROUND)
        else:
            picture = Image.fromarray(spectrogram(samples)).resize((width, TILE))
            caption = f"{len(samples) / rate:.1f} s, 0 to {rate / 2000:g} kHz: {caption}"
        rows.append((caption, picture))
    return _grid(rows, columns)


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """uint8 [pitch (high at the top), time, 3]: decibels below the loudest, down to the floor."""
    wave = samples.astype(np.float64) / 32768
    frames = np.lib.stride_tricks.sliding_window_view(wave, FFT_SAMPLES)[::HOP_SAMPLES]
    power = np.abs(np.fft.rfft(frames * np.hanning(FFT_SAMPLES), axis=1)) ** 2
    decibel = 10 * np.log10(np.maximum(power, 1e-12) / max(float(power.max()), 1e-12))
    return coloured(np.clip(1 - decibel / FLOOR_DECIBEL, 0, 1).T[::-1])


def coloured(level: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] of levels from 0 to 1."""
    stops = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(level, stops, _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _strip(frames: np.ndarray | None, num_frames: int) -> Image.Image:
    strip = Image.new("RGB", (num_frames * TILE, TILE), BACKGROUND)
    for place, frame in enumerate(() if frames is None else frames):
        picture = Image.fromarray(frame)
        picture.thumbnail((TILE, TILE))
        strip.paste(picture, (place * TILE, (TILE - picture.height) // 2))
    return strip


def _grid(pictures: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
    width = max(picture.width for _, picture in pictures) + GAP
    height = TILE + CAPTION + GAP
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(CAPTION - 4)
    for place, (caption, picture) in enumerate(pictures):
        left, top = GAP + place % columns * width, GAP + place // columns * height
        draw.text((left, top), printable(caption)[: width // 6], fill=INK, font=font)
        sheet.paste(picture, (left, top + CAPTION))
    return sheet
