"""Localisation with hints of teachers: how a sound is classified, and where objects are seen."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar, unit_rows
from avssl.losses.hints import hint_loss
from avssl.losses.localization import multiple_instance_loss
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent

# Of the attention of DETR's decoder, at 800 pixels.
DETR_POSITIONS = 25 * 25


def hinted_localization_loss(
    video_map: Float[Array, "b h w d"],
    audio: Float[Array, "b d"],
    *,
    sound_teacher: Float[Array, "b d"],
    object_teacher: Float[Array, "b p q"],
    temperature: float | Scalar = 0.03,
    sound_weight: float = 1_000.0,
    object_weight: float = 100_000.0,
    normalise_teacher: bool = False,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """AVL's loss (Yaghoubi et al. 2023, "Acoustic and Visual Knowledge Distillation for Contrastive
    Audio-Visual Localization", ICMI; of their code, `max_xmil_loss` and `detr_panns_loss`).

    EZ-VSL's `multiple_instance_loss` + 1,000 `sound_hint_loss` + 100,000 `object_hint_loss`. The
    large weights stand against means over channels and positions; the paper was not at hand. The
    objective `avl` has the same sum, with either teacher left out and maps over frames; this is its
    published form, which parity and that objective are tested against.
    Metrics: the three losses without their weights, how many rows had a hint of either teacher, and
    the metrics of the first loss.
    """
    batch, _, _, channels = video_map.shape
    contrast, metrics = multiple_instance_loss(
        video_map.reshape(batch, -1, channels),
        audio,
        temperature=temperature,
        index=index,
        present=present,
    )
    sound, num_sounds = sound_hint_loss(
        audio, sound_teacher, normalise_teacher=normalise_teacher, present=present
    )
    objects, num_objects = object_hint_loss(video_map, object_teacher, present=present)
    return contrast + sound_weight * sound + object_weight * objects, {
        **metrics,
        "localization_loss": contrast,
        "sound_hint_loss": sound,
        "object_hint_loss": objects,
        "num_sound_hints": num_sounds,
        "num_object_hints": num_objects,
    }


def sound_hint_loss(
    audio: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    *,
    normalise_teacher: bool = False,
    present: Bool[Array, "b"],
) -> tuple[Scalar, Scalar]:
    """Mean squared difference of the audio vector, scaled to length 1, and the teacher's embedding.

    The teacher's (PANNs) is not scaled in the released code: no vector of length 1 can reach it, and
    only its direction teaches. `normalise_teacher` scales it too. Mean over elements and over the
    rows that are present and have a hint (no NaN in it); 0 if there is none. The number of those
    rows. No gradient for the teacher.
    """
    hinted = _hinted(teacher, present)
    if normalise_teacher:
        teacher = unit_rows(blank_absent(teacher, hinted))
    student = unit_rows(blank_absent(audio, hinted))
    return hint_loss(student, teacher, present=hinted), _number(hinted, student)


def object_hint_loss(
    video_map: Float[Array, "b *frames h w d"],
    attention: Float[Array, "b p q"],
    *,
    present: Bool[Array, "b"],
) -> tuple[Scalar, Scalar]:
    """Mean squared difference of the picture's response and the attention of an object detector.

    The response is the mean over channels of the map's vectors, each scaled to length 1, and over
    the frames where there are several, resized to the attention's size (25 x 25 of DETR's last
    decoder layer): bilinear with cell centres, as torch's align_corners=False. Resized after the
    mean, which is the same number as before it.

    Mean over positions and over the rows that are present and in which the detector found something
    (it marks others by NaN); 0 if there is none, where the released mean over nothing is NaN. The
    number of those rows. No gradient for the teacher.
    """
    found = _hinted(attention, present)
    response = jnp.mean(unit_rows(blank_absent(video_map, found)), axis=-1)
    response = jnp.mean(response, axis=tuple(range(1, response.ndim - 2)))
    response = jax.image.resize(response, attention.shape, "linear", antialias=False)
    return hint_loss(response, attention, present=found), _number(found, response)


def object_response(
    teacher_map: Float[Array, "b *frames p q c"],
) -> tuple[Float[Array, "b p q"], Bool[Array, "b"]]:
    """Where a teacher of pictures sees any object, from its map; and whether it sees one at all.

    The mean over channels of the magnitudes, and over frames: EZ-VSL's object map, of any network.
    It is scaled to a mean of 1/625 over its positions, which attention over DETR's 25 x 25 has by
    itself (its sum is 1), so that the published weight of the hint keeps its meaning. A map of one
    channel is a response already and only averaged over frames. A response of zeros, or one that is
    not finite, is of a picture in which nothing was found.
    """
    wide = widen(teacher_map)
    several = teacher_map.shape[-1] > 1
    response = jnp.mean(jnp.abs(wide) if several else wide, axis=-1)
    response = jnp.mean(response, axis=tuple(range(1, response.ndim - 2)))
    found = jnp.all(jnp.isfinite(response), axis=(1, 2)) & jnp.any(response != 0.0, axis=(1, 2))
    response = blank_absent(response, found)
    if several:
        mean = jnp.mean(response, axis=(1, 2), keepdims=True)
        response = response / (DETR_POSITIONS * jnp.where(mean > 0.0, mean, 1.0))
    return response, found


def _hinted(teacher: Float[Array, "b *shape"], present: Bool[Array, "b"]) -> Bool[Array, "b"]:
    """Which rows are present and have a target: one without any NaN."""
    return present & ~jnp.any(jnp.isnan(teacher), axis=tuple(range(1, teacher.ndim)))


def _number(rows: Bool[Array, "b"], like: Float[Array, "b *shape"]) -> Scalar:
    return jnp.sum(rows.astype(like.dtype))
