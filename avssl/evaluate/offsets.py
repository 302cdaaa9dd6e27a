"""Synchronisation by search: at which of many offsets does a clip's sound go best with its picture?

As SyncNet is scored (Chung and Zisserman 2016; as recalled): the picture stays, the sound is taken at offsets
of whole frames to either side of it, and the best one is right when it lies so many frames or fewer from it.
"""

import dataclasses
import math

import jax
import numpy as np
from jaxtyping import Float

from avssl.console import say
from avssl.data.needs import what_is_lacking
from avssl.data.pipeline import evaluation_batches
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.evaluate.checks import finite_scores
from avssl.evaluate.sides import Score, Sides
from avssl.train.mesh import batch_sharding, local_mesh, replicated
from avssl.train.model import Model, purpose_key

# SyncNet's: 15 frames to either side, of which 1 is near enough.
REACH = 15
TOLERANCES = (1, 5)
# Each is heard at every offset: of more clips so many are taken, evenly over the test part.
MOST_CLIPS = 2000
# Clips that are held at once, with the sound at every offset.
BATCH_SIZE = 32


def offset_scores(model: Model, name: str, sides: Sides, reach: int) -> list[Score]:
    """`offset_within_1` of clips with room for all offsets; chance is the share of offsets that are right."""
    if reach < 1:
        raise UsageError(
            f"eval.offset_frames is how many frames to either side are searched: 1 or more, not {reach}"
        )
    likeness = likeness_by_offset(model, name, sides, reach)
    return [
        Score.of_clips(
            "joint",
            f"offset_within_{frames}",
            found_within(likeness, frames),
            (2 * frames + 1) / (2 * reach + 1),
        )
        for frames in TOLERANCES
        if frames < reach
    ]


def found_within(likeness: Float[np.ndarray, "n offsets"], frames: int) -> Float[np.ndarray, "n"]:
    """Whether the best offset lies so near the middle one; of several best ones, the share that does.

    So a collapsed encoder, for which all tie, is at chance.
    """
    best = likeness == likeness.max(axis=1, keepdims=True)
    middle = likeness.shape[1] // 2
    return best[:, middle - frames : middle + frames + 1].sum(axis=1) / best.sum(axis=1)


def likeness_by_offset(
    model: Model, name: str, sides: Sides, reach: int
) -> Float[np.ndarray, "n offsets"]:
    """An objective's score of each clip's picture with its sound so many frames earlier (first) or later."""
    model = model.only([name]).without_draws()
    objective = model.objectives[name]
    audio = objective.audio_view
    grid = offset_grid(model, name, reach)
    source = sides.scored[0]
    indices = sides.test.index
    too_short = (
        f"offsets of {reach} frames to either side need clips of {grid.span_seconds:g} s, and none of "
        f"{source.spec} is so long: set eval.offset_frames to fewer than {reach}"
    )
    if what_is_lacking(source, indices, grid):
        raise UsageError(too_short)
    if len(indices) > MOST_CLIPS:
        say(f"synchronization: offsets of {MOST_CLIPS} of {len(indices)} clips, evenly over them")
        indices = indices[np.linspace(0, len(indices) - 1, MOST_CLIPS).astype(int)]

    def outputs_at(variables, batch, place):
        """With the sound at one of the offsets."""
        at_place = {**batch}
        for group in ("views", "geometry"):
            alone = jax.tree.map(lambda leaf: leaf[:, place], batch[group][audio])
            at_place[group] = {**batch[group], audio: alone}
        key = purpose_key(jax.random.key(0), "evaluation")
        return model.encode(variables, at_place, key, train=False)[0][name]

    def picture(variables, batch):
        return outputs_at(variables, batch, reach)["video"]

    def score(variables, batch, place, video):
        # What only the picture needs is not computed again: the compiler drops it.
        sound = outputs_at(variables, batch, place)["audio"]
        parameters = variables["params"]["objectives"][name]
        return model.compare(parameters, name, "row_similarity", video, sound)

    mesh = local_mesh()
    rows, whole = batch_sharding(mesh), replicated(mesh)
    picture, score = sides.compiled.setdefault(
        f"offsets of {name}",
        (
            jax.jit(picture, in_shardings=(whole, rows), out_shardings=rows),
            jax.jit(score, in_shardings=(whole, rows, None, rows), out_shardings=rows),
        ),
    )
    variables = jax.device_put(sides.variables, whole)
    found = []
    with evaluation_batches(
        source,
        {**model.views, audio: grid},
        batch_size=math.ceil(BATCH_SIZE / mesh.size) * mesh.size,
        indices=indices,
        workers=sides.workers,
    ) as batches:
        for batch in batches:
            mask = batch.pop("mask")
            for view in (objective.video_view, audio):
                mask &= batch["present"][view]
            on_device = jax.device_put(batch, rows)
            video = picture(variables, on_device)
            scores = [score(variables, on_device, place, video) for place in range(grid.windows)]
            found.append(np.stack(jax.device_get(scores), axis=1)[mask])
    likeness = np.concatenate(found)
    if not len(likeness):
        raise UsageError(too_short)
    finite_scores(likeness.ravel())
    return likeness


def offset_grid(model: Model, name: str, reach: int) -> AudioView:
    """The sound at every offset: windows a frame apart, the middle one where the sound truly is."""
    objective = model.objectives[name]
    video, audio = model.views[objective.video_view], model.views[objective.audio_view]
    assert isinstance(video, VideoView)
    assert isinstance(audio, AudioView)
    if audio.windows != 1 or any(audio.shift_seconds):
        raise UsageError(
            f"the view '{objective.audio_view}' has windows or a shift of its own: there is no one offset "
            "to search for"
        )
    return dataclasses.replace(audio, windows=2 * reach + 1, every_seconds=1 / video.fps)
