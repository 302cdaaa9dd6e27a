"""Localisation: the losses of EZ-VSL, LVS and AVL with gradients, and the evaluators of the first two.

The goldens' maps are [batch, channels, height, width]. Gradients are compared relative to the largest
entry of each array, as the notes say.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.evaluate.heat_maps import fused, resize, scaled
from avssl.evaluate.localization import RELEASED, consensus_iou, localization, truth_map
from avssl.losses.localization import multiple_instance_loss, position_cosines, sounding_map
from avssl.losses.teacher_hints import hinted_localization_loss
from avssl.losses.tri_map import region_cosines, tri_map_loss

SIDE = 224
CONSENSUS = {"flickr": 2, "vggss": 1}
LOSS = {"rtol": 1e-5}


def near(gradient, expected: np.ndarray):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6 * scale)


def channels_last(array: np.ndarray) -> jax.Array:
    return jnp.moveaxis(jnp.asarray(array), 1, -1)


def positions(array: jax.Array) -> jax.Array:
    """[batch, channels, height, width] as a list of vectors."""
    return channels_last(array).reshape(len(array), -1, array.shape[1])


def all_of(num: int) -> dict[str, jax.Array]:
    return {"index": jnp.arange(num), "present": jnp.ones(num, bool)}


def check_ez_vsl_loss(golden: dict[str, np.ndarray]):
    video, audio = jnp.asarray(golden["img_raw"]), jnp.asarray(golden["aud_raw"])
    temperature, batch = float(golden["tau"]), all_of(len(audio))

    def forward(video, audio):
        video = positions(video)
        loss, _ = multiple_instance_loss(video, audio, temperature=temperature, **batch)
        nearest = jnp.max(position_cosines(video, audio), axis=2)
        return loss, (nearest, sounding_map(video, audio))

    compute = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
    (loss, (nearest, own)), gradients = compute(video, audio)
    np.testing.assert_allclose(loss, golden["loss"], **LOSS)
    near(gradients[0], golden["grad_img_raw"])
    near(gradients[1], golden["grad_aud_raw"])
    np.testing.assert_allclose(nearest / temperature, golden["logits_max"], **LOSS)
    expected = golden["S_avl"].reshape(own.shape)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(own / temperature, expected, rtol=1e-5, atol=1e-6 * scale)


def check_lvs_loss(golden: dict[str, np.ndarray]):
    """The released diagonal for all; where no pair has a negative cosine, the mask gives the same."""
    tri_map = {
        "sounding_from": float(golden["epsilon"]),
        "background_below": float(golden["epsilon2"]),
        "softness": float(golden["tau"]),
    }
    one_threshold = tri_map | {"background_below": tri_map["sounding_from"]}
    check_lvs_variant(golden, "tri", "", tri_map, True)
    check_lvs_variant(golden, "hard", "", one_threshold, True)
    check_lvs_variant(golden, "noneg", "", tri_map, False)
    check_lvs_variant(golden, "hazard", "hazard_", tri_map, True)


def check_lvs_variant(golden: dict, name: str, inputs: str, soft: dict, background: bool):
    video, audio = (jnp.asarray(golden[f"{inputs}{kind}"]) for kind in ("img", "aud"))
    temperature, num = float(golden["temp"]), len(video)
    logits, apart = golden[f"{name}_logits"], ~np.eye(num, dtype=bool)
    own, (regions, quiet) = lvs_regions(video, audio, soft)
    np.testing.assert_allclose(own, golden[f"{inputs}A"].reshape(num, -1), rtol=1e-5, atol=1e-6)
    found = jnp.concatenate([jnp.diagonal(regions)[:, None], regions, quiet[:, None]], axis=1)
    counted = np.ones_like(logits, bool)
    counted[:, 1 : num + 1] = apart
    found = np.asarray(found)[:, : logits.shape[1]] / temperature
    np.testing.assert_allclose(found[counted], logits[counted], rtol=1e-5, atol=1e-5)

    losses = {
        released: lvs_loss(video, audio, soft, temperature, background, released)
        for released in (True, False)
    }
    # Whether the factor switches the diagonal off.
    if np.max(logits[~counted] - logits[:, 0]) > -20:
        del losses[False]
        masked, _ = lvs_loss(video, audio, soft, temperature, background, False)
        total = np.log(np.exp(np.where(counted, logits, -np.inf)).sum(axis=1))
        np.testing.assert_allclose(masked, np.mean(total - logits[:, 0]), **LOSS)
    for loss, gradients in losses.values():
        np.testing.assert_allclose(loss, golden[f"{name}_loss_ce0"], **LOSS)
        near(gradients[0], golden[f"{name}_grad_img"])
        near(gradients[1], golden[f"{name}_grad_aud"])


@jax.jit
def lvs_regions(video, audio, soft):
    video, audio = positions(video), jnp.max(audio, axis=(2, 3))
    return sounding_map(video, audio), region_cosines(video, audio, **soft)


@partial(jax.jit, static_argnums=(4, 5))
def lvs_loss(video, audio, soft, temperature, background, released_diagonal):
    def forward(video, audio):
        loss, _ = tri_map_loss(
            positions(video),
            jnp.max(audio, axis=(2, 3)),
            **soft,
            temperature=temperature,
            background=background,
            released_diagonal=released_diagonal,
            **all_of(len(video)),
        )
        return loss

    return jax.value_and_grad(forward, (0, 1))(video, audio)


def check_avl_loss(golden: dict[str, np.ndarray]):
    found = golden["detr_valid"].astype(bool)
    # As in the official run, which tells no detection by NaN.
    attention = np.where(found[:, None, None], golden["detr_map"], np.float32(np.nan))
    batch = all_of(len(found))

    def forward(video, audio):
        return hinted_localization_loss(
            channels_last(video), audio, sound_teacher=jnp.asarray(golden["panns_embed"]),
            object_teacher=jnp.asarray(attention), temperature=float(golden["tau"]),
            sound_weight=float(golden["w_aud"]), object_weight=float(golden["w_img"]), **batch,
        )  # fmt: skip

    (loss, metrics), gradients = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))(
        jnp.asarray(golden["img_raw"]), jnp.asarray(golden["aud_raw"])
    )
    np.testing.assert_allclose(loss, golden["loss_total"], **LOSS)
    np.testing.assert_allclose(metrics["localization_loss"], golden["loss_av"], **LOSS)
    np.testing.assert_allclose(metrics["sound_hint_loss"], golden["loss_aud_mse"], **LOSS)
    np.testing.assert_allclose(metrics["object_hint_loss"], golden["loss_img_mse"], **LOSS)
    distilled = loss - metrics["localization_loss"]
    np.testing.assert_allclose(distilled, golden["loss_distill"], **LOSS)
    assert int(metrics["num_object_hints"]) == found.sum()
    near(gradients[0], golden["grad_img_raw"])
    near(gradients[1], golden["grad_aud_raw"])


def check_ez_vsl_eval(golden: dict[str, np.ndarray]):
    boxes = boxes_in_shares(golden)
    heats = {name: golden[f"map_{name}7"][:, 0] for name in ("av", "obj")}
    corners = RELEASED["ez_vsl"]["interpolation"]
    heats["avobj"] = [
        fused(*(resize(heat, SIDE, corners) for heat in pair), float(golden["alpha"]))
        for pair in zip(heats["av"], heats["obj"], strict=True)
    ]
    heats["avbicubic"] = heats["av"]
    options = dict.fromkeys(heats, RELEASED["ez_vsl"])
    options["avbicubic"] = RELEASED["ez_vsl_training"]
    for name in ("av", "avbicubic"):
        resized = resize(heats[name][0], SIDE, options[name]["interpolation"])
        np.testing.assert_allclose(resized, golden[f"up_{name}_sample0"], rtol=1e-5, atol=1e-6)
    for test_set, consensus in CONSENSUS.items():
        truths = [truth_map(own, SIDE, SIDE, consensus=consensus) for own in boxes]
        sums = [truth.sum() for truth in truths]
        np.testing.assert_array_equal(sums, golden[f"gt_{test_set}_sum"])
        if f"gt_{test_set}_0" in golden:
            np.testing.assert_array_equal(truths[0], golden[f"gt_{test_set}_0"])
        for name in heats:
            scores = check_evaluator(
                golden, f"{test_set}_{name}", heats[name], boxes, consensus, options[name]
            )
            ious = golden[f"{test_set}_{name}_ciou"]
            near_curve(scores["ciou_auc"], golden[f"{test_set}_{name}_AUC"], ious)
            np.testing.assert_allclose(scores["ciou"], golden[f"{test_set}_{name}_AP50"])
            mean = golden[f"{test_set}_{name}_meancIoU"]
            np.testing.assert_allclose(scores["mean_ciou"], mean, rtol=1e-5)


def check_lvs_eval(golden: dict[str, np.ndarray]):
    boxes, heats = boxes_in_shares(golden), golden["maps14"]
    resized = resize(heats[0], SIDE)
    np.testing.assert_allclose(resized, golden["resized_sample0"], rtol=1e-5, atol=1e-6)
    for test_set, consensus in CONSENSUS.items():
        scores = check_evaluator(golden, test_set, heats, boxes, consensus, RELEASED["lvs"])
        near_curve(scores["ciou_auc"], golden[f"{test_set}_auc"], golden[f"{test_set}_ciou"])
        np.testing.assert_allclose(scores["ciou"], golden[f"{test_set}_cIoU0p5"])


def boxes_in_shares(golden: dict) -> list[np.ndarray]:
    return [own[(own >= 0).all(axis=1)] / SIDE for own in golden["boxes_xyxy224"]]


def check_evaluator(golden, prefix, heats, boxes, consensus, options) -> dict[str, float]:
    """cIoU and threshold of every sample; the scores of them all."""
    interpolation = options.get("interpolation", "bilinear")
    for place, (heat, own) in enumerate(zip(heats, boxes, strict=True)):
        heat = resize(heat, SIDE, interpolation)
        found = consensus_iou(heat, own, consensus=consensus, threshold=options["threshold"])
        middle = heat.size // 2
        below, median, above = np.sort(scaled(heat), axis=None)[middle - 1 : middle + 2]
        # The official maps are float32: there two pixels this near may change places.
        tied = min(median - below, above - median) < 2e-7
        one_pixel = 1 / truth_map(own, SIDE, SIDE, consensus=consensus).sum() if tied else 0.0
        close = {"rtol": 1e-5, "err_msg": f"{prefix}, sample {place}"}
        expected = golden[f"{prefix}_ciou"][place]
        np.testing.assert_allclose(found, expected, atol=one_pixel, **close)
        np.testing.assert_allclose(median, golden[f"{prefix}_thr"][place], **close)
    return localization(heats, boxes, consensus=consensus, **options)


def near_curve(area: float, expected: np.ndarray, ious: np.ndarray):
    """A sample within rounding of one of the curve's thresholds may move it by one step."""
    doubtful = np.abs(20 * ious - np.round(20 * ious)) < 20 * 1e-5
    step = doubtful.sum() / (20 * len(ious))
    np.testing.assert_allclose(area, expected, rtol=1e-9, atol=step)
