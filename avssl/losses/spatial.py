"""Spatial alignment: which of a clip's viewpoints belongs to which sound?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.blocks import by_blocks
from avssl.losses.contrastive import Rows, Scalar, numbered, own_and_negatives, unit_rows
from avssl.losses.rows import blank_absent, mean_present

MODES = ("avc", "hard", "easy_hard")


def contrasted_viewpoints(embedding: Float[Array, "b v d"], *, mode: str) -> Float[Array, "b w d"]:
    """What the heads are to see: for 'avc' the maximum over the viewpoints, as the only one.

    The other modes see every viewpoint. The maximum is taken before the heads, of predictions and
    of targets alike.
    """
    check_mode(mode)
    return jnp.max(embedding, axis=1, keepdims=True) if mode == "avc" else embedding


def viewpoint_info_nce(
    prediction: Float[Array, "b v d"],
    target: Float[Array, "b v d"],
    *,
    mode: str,
    temperature: float | Scalar,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Finds the target of each predicted viewpoint among others, by cross-entropy of cosines.

    With s_ij,kl = cos(prediction_ij, target_kl) / temperature, i and k clips, j and l viewpoints,
    loss = mean_ij (log sum_(k,l in pool of ij) exp s_ij,kl - s_ij,ij). The pool is, by mode,
    'hard': the V viewpoints of clip i; 'easy_hard': these and viewpoint j of every other clip,
    V + B - 1 in all; 'avc': the same, after `contrasted_viewpoints` has left one viewpoint.

    Clips with `present` False leave as row and as negative; clips of the same record (equal
    `index`) are never each other's negatives; without any present clip the loss is 0.
    blocks: the clips are compared with all others in so many parts, one after the other, which
    changes nothing but the memory. It divides b.
    Metrics: how often the own target is strictly nearer than the other clips' (`clip_top1`) and than
    the clip's other viewpoints (`viewpoint_top1`, by chance 1 / V), of those the mode contrasts.
    """
    check_mode(mode)
    num_viewpoints = prediction.shape[1]
    if mode == "avc" and num_viewpoints > 1:
        raise ValueError(f"'avc' contrasts one viewpoint per clip, not {num_viewpoints}")
    # Absent clips may hold anything, NaN too: they must not reach the product, nor its gradient.
    prediction, target = (unit_rows(blank_absent(x, present)) for x in (prediction, target))
    temperature = jnp.asarray(temperature).astype(prediction.dtype)

    def of_clips(rows: Rows) -> dict[str, Float[Array, "r"]]:
        def products(pairs: str, target: Array) -> Float[Array, "r v n"]:
            found = jnp.einsum(
                pairs,
                rows["prediction"],
                target,
                precision=jax.lax.Precision.HIGHEST,
                preferred_element_type=target.dtype,
            )
            return found / temperature

        def first(logits: Float[Array, "r v n"], rivals: Bool[Array, "r v n"]) -> Array:
            nearest = jnp.max(jnp.where(rivals, logits, -jnp.inf), axis=-1)
            return jnp.mean((own > nearest).astype(logits.dtype), axis=1)

        within = products("ivd,iwd->ivw", rows["target"])
        own = jnp.diagonal(within, axis1=1, axis2=2)
        logits, counted, found = [within], [jnp.ones_like(within, bool)], {}
        if mode != "avc":
            others = jnp.broadcast_to(~jnp.eye(num_viewpoints, dtype=bool)[None], within.shape)
            found["viewpoint_top1"] = first(within, others)
        if mode != "hard":
            across = products("ivd,kvd->ivk", target)
            _, negatives = own_and_negatives(rows, index, present)
            negatives = jnp.broadcast_to(negatives[:, None], across.shape)
            logits.append(across)
            counted.append(negatives)
            found["clip_top1"] = first(across, negatives)
        pool = jax.nn.logsumexp(
            jnp.concatenate(logits, axis=-1), axis=-1, where=jnp.concatenate(counted, axis=-1)
        )
        return {"loss": jnp.mean(pool - own, axis=1), **found}

    rows = {**numbered(index, present), "prediction": prediction, "target": target}
    found = by_blocks(of_clips, rows, blocks=blocks)
    metrics = {name: mean_present(values, present) for name, values in found.items()}
    return metrics.pop("loss"), metrics


def spatial_alignment_loss(
    video: Float[Array, "b v d"],
    audio: Float[Array, "b v d"],
    *,
    video_prediction: Float[Array, "b v d"],
    audio_prediction: Float[Array, "b v d"],
    mode: str,
    temperature: float | Scalar,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Mean of the two directions of AVSA (Morgado, Li, Vasconcelos, NeurIPS 2020, arXiv 2011.01819
    as recalled; `criterions/video2audio_seq.py`), each a `viewpoint_info_nce`.

    `video_prediction` is made of audio and sought in `video`, and the other way round; each of the
    four has passed its own head. temperature 0.07 is the paper's. The released code names
    'easy_hard' "easy+hard"; its other modes raise while logging, after the losses are computed.
    """
    directions = {
        "audio_to_video": (video_prediction, video),
        "video_to_audio": (audio_prediction, audio),
    }
    losses, metrics = [], {}
    for direction, (prediction, target) in directions.items():
        loss, found = viewpoint_info_nce(
            prediction, target, mode=mode, temperature=temperature, index=index, present=present,
            blocks=blocks,
        )  # fmt: skip
        losses.append(loss)
        metrics |= {f"{direction}_{name}": value for name, value in found.items()}
    metrics["num_pairs"] = jnp.sum(present.astype(losses[0].dtype))
    return 0.5 * (losses[0] + losses[1]), metrics


def check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"the mode of spatial alignment is one of {', '.join(MODES)}, not {mode}")
