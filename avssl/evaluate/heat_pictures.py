"""Heat maps as pictures: what a run thinks sounds, over the frame it looked at, with the true boxes.

A box is the mean over what the encoder saw, as it is scored; the frame is one of them, so things that move
fast lie beside it.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from etils import epath
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from avssl.console import say
from avssl.data.cache import write_whole
from avssl.data.keys import printable
from avssl.data.pictures import BACKGROUND, CAPTION, GAP, INK, coloured
from avssl.data.pipeline import evaluation_batches
from avssl.data.record import Source
from avssl.data.storage import told_plainly
from avssl.data.truth import box_consensus
from avssl.data.views import View
from avssl.evaluate.heat_maps import resize, scaled
from avssl.evaluate.localization import PICTURE_SIZE, Boxes, consensus_iou, scorable
from avssl.evaluate.places import (
    MapOptions,
    mapping_objectives,
    maps_by_kind,
    true_boxes,
    truths_of,
)
from avssl.evaluate.sides import Sides
from avssl.train.model import Model

# Clips with boxes that are drawn, evenly spread.
NUM_PICTURES = 64
BATCH_SIZE = 16
BOX, BOX_EDGE = (90, 255, 120), (0, 0, 0)


def save_pictures(model: Model, sides: Sides, folder: Path, options: MapOptions) -> None:
    """A PNG of each of `NUM_PICTURES` clips and objective: the frame, then each kind of map over it."""
    truths = truths_of(sides)
    written = 0
    for name in mapping_objectives(model, sides):
        view_name = model.objectives[name].video_view
        view = model.views[view_name]
        boxes = true_boxes(truths, sides.test.geometry[view_name], view)
        rows = evenly_spread(np.flatnonzero(scorable(boxes)), NUM_PICTURES)
        maps = maps_by_kind(model, sides, name, options)
        frames = middle_frames(sides.scored[0], view, sides.test.index[rows], sides.workers)
        for row in rows.tolist():
            index = int(sides.test.index[row])
            sheet = heat_sheet(
                frames[index], {kind: several[row] for kind, several in maps.items()}, boxes[row],
                caption=sides.scored[0].key(index), consensus=box_consensus(truths[row]), options=options,
            )  # fmt: skip
            write_picture(folder, f"{name}-{index:06d}.png", sheet)
            written += 1
    say(f"wrote {written} pictures of heat maps to {folder}")


def evenly_spread(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]


def middle_frames(
    source: Source, view: View, indices: np.ndarray, workers: int
) -> dict[int, UInt8[np.ndarray, "size size 3"]]:
    """Of each record the frame in the middle of what its encoder saw."""
    found = {}
    with evaluation_batches(
        source, {"view": view.evaluation()}, batch_size=BATCH_SIZE, indices=indices, workers=workers
    ) as batches:
        for batch in batches:
            frames = batch["views"]["view"]
            frames = frames.reshape(len(frames), -1, *frames.shape[-3:])
            middle = frames[:, frames.shape[1] // 2]
            found |= {
                int(index): picture.copy()
                for index, picture, real in zip(batch["index"], middle, batch["mask"], strict=True)
                if real
            }
    return found


def heat_sheet(
    frame: UInt8[np.ndarray, "h w 3"],
    maps: Mapping[str, Float[np.ndarray, "p q"]],
    boxes: Boxes,
    *,
    caption: str,
    consensus: int,
    options: MapOptions,
) -> Image.Image:
    """Panels side by side; over each map its kind and cIoU."""
    picture = np.asarray(
        Image.fromarray(frame).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BICUBIC)
    )
    threshold = options.rules.get("threshold", 0.5)
    panels = [(caption, picture)]
    for kind, heat in maps.items():
        heat = resize(heat, PICTURE_SIZE, options.interpolation)
        ciou = consensus_iou(heat, boxes, consensus=consensus, threshold=threshold)
        panels.append((f"{kind}: cIoU {ciou:.2f}", overlaid(picture, heat)))
    width, height = PICTURE_SIZE + GAP, PICTURE_SIZE + CAPTION + GAP
    sheet = Image.new("RGB", (len(panels) * width + GAP, height + GAP), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(CAPTION - 4)
    for place, (text, pixels) in enumerate(panels):
        left = GAP + place * width
        draw.text((left, GAP), printable(text)[: width // 6], fill=INK, font=font)
        sheet.paste(with_boxes(pixels, boxes), (left, GAP + CAPTION))
    return sheet


def overlaid(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Half of the grey picture and half of the heat's colour, which a constant map has none of."""
    level = scaled(heat) if heat.min() < heat.max() else np.zeros_like(heat)
    grey = picture.mean(axis=-1, keepdims=True)
    return (0.5 * grey + 0.5 * coloured(np.clip(level, 0, 1))).astype(np.uint8)


def with_boxes(pixels: np.ndarray, boxes: Boxes) -> Image.Image:
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in (PICTURE_SIZE * boxes).round().astype(int).tolist():
        corners = x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)
        draw.rectangle(corners, outline=BOX_EDGE, width=4)
        draw.rectangle(corners, outline=BOX, width=2)
    return picture


def write_picture(folder: Path, name: str, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    with told_plainly(str(folder), lambda: 2**20):
        write_whole(epath.Path(folder) / name, buffer.getvalue())
