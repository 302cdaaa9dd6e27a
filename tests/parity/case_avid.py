"""AVID and CMA: NCE, losses with gradients, banks over two steps, positive sets, negatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.avid import avid_loss, cma_loss
from avssl.losses.bank import AGREEMENTS, agreement_positives, skip_taken, update_bank
from avssl.losses.nce import frozen_partition, nce_loss

UNSET = np.float32(0.0)
DIRECTIONS = {
    "v2a": "video_to_audio",
    "a2v": "audio_to_video",
    "v2v": "video_to_video",
    "a2a": "audio_to_audio",
}
KINDS = {"inst-": "instance_", "pos-": "positives_", "": ""}
# (cross, within) of each mode.
AVID_WEIGHTS = {"cross": (1.0, 0.0), "self": (0.0, 1.0), "joint": (1.0, 1.0)}
# (cross instance, within instance, cross positives, within positives) of each configuration.
CMA_WEIGHTS = {"main": (1.0, 0.0, 0.0, 1.0), "all": (1.0, 0.0, 0.5, 0.5)}
close = {"rtol": 1e-5, "atol": 1e-6}


def check_avid(golden: dict):
    check_nce(golden)
    for mode, (cross, within) in AVID_WEIGHTS.items():
        banks, partition = (golden["avid_mem1"], golden["avid_mem2"]), UNSET
        for step, suffix in ((1, ""), (2, "_step2")):
            prefix = f"avid_{mode}_s{step}_"
            loss = partial(
                avid_loss,
                negatives=jnp.asarray(golden[f"{prefix}neg_idx"]),
                cross=cross,
                within=within,
            )
            embeddings = [golden[f"avid_{name}_emb{suffix}"] for name in ("video", "audio")]
            banks, partition = check_step(
                golden, prefix, loss, embeddings, golden["avid_y"], banks, partition
            )


def check_nce(golden: dict):
    @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def forward(positive, negative, stored):
        present = jnp.ones(len(positive), bool)
        partition = frozen_partition(stored, negative, present=present)
        return nce_loss(positive, negative, partition=partition, present=present), partition

    for prefix, stored in (("nce_first_", UNSET), ("nce_fixed_", golden["nce_fixed_Zin"])):
        arrays = golden["nce_pos"], golden["nce_neg"], stored
        (loss, partition), gradients = jax.jit(forward)(*map(jnp.asarray, arrays))
        np.testing.assert_allclose(loss, golden[f"{prefix}loss"], **close)
        np.testing.assert_allclose(partition, np.squeeze(golden[f"{prefix}Z"]), **close)
        np.testing.assert_allclose(gradients[0], golden[f"{prefix}gpos"], **close)
        np.testing.assert_allclose(gradients[1], golden[f"{prefix}gneg"], **close)


def check_avid_cma(golden: dict):
    check_positives(golden)
    for config, weights in CMA_WEIGHTS.items():
        names = "cross_instance", "within_instance", "cross_positives", "within_positives"
        banks, partition = (golden["mem1"], golden["mem2"]), UNSET
        for step, scale in ((1, 1.0), (2, 2.0)):
            prefix = f"{config}_s{step}_"
            positives = jnp.asarray(golden[f"{prefix}pos_idx"])
            np.testing.assert_array_equal(positives, golden["pos_consensus"][golden["y"]])
            negatives = skip_taken(jnp.asarray(golden[f"{prefix}raw_draw"]), positives)
            np.testing.assert_array_equal(negatives, golden[f"{prefix}neg_idx"])
            loss = partial(
                cma_loss,
                **dict(zip(names, weights, strict=True)),
                positives=positives,
                negatives=negatives,
                num_negatives_within=golden[f"{prefix}score_pos-v2v_neg"].shape[1],
            )
            embeddings = [golden["video_emb"] * scale, golden["audio_emb"]]
            # Neither configuration has within-modal instance discrimination: the released mistake
            # must not show.
            released = partial(loss, released_within_instance=True)
            check_step(golden, prefix, released, embeddings, golden["y"], banks, partition)
            banks, partition = check_step(
                golden, prefix, loss, embeddings, golden["y"], banks, partition
            )


def check_positives(golden: dict):
    banks = jnp.asarray(golden["mem1"]), jnp.asarray(golden["mem2"])
    rows = jnp.arange(len(banks[0]))
    for agreement in AGREEMENTS:
        expected = golden[f"pos_{agreement}"]
        for drop_nearest in (False, True):
            positives = agreement_positives(
                *banks,
                rows,
                num_positives=expected.shape[1],
                agreement=agreement,
                drop_nearest=drop_nearest,
            )
            np.testing.assert_array_equal(positives, expected)


def check_step(golden: dict, prefix: str, loss_of, embeddings, index, banks, partition):
    """Loss, terms, Z, gradients and updated banks of one step; returns (banks, Z)."""
    index = jnp.asarray(index)
    present = jnp.ones(len(index), bool)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def forward(video, audio, video_bank, audio_bank, partition):
        loss, partition, terms = loss_of(
            video,
            audio,
            video_bank=video_bank,
            audio_bank=audio_bank,
            index=index,
            partition=partition,
            present=present,
        )
        return loss, (partition, terms)

    arrays = map(jnp.asarray, (*embeddings, *banks, partition))
    (loss, (partition, terms)), gradients = forward(*arrays)
    np.testing.assert_allclose(loss, golden[f"{prefix}loss"], **close)
    np.testing.assert_allclose(partition, np.squeeze(golden[f"{prefix}Z"]), **close)
    assert {f"{prefix}loss_{name}" for name in map(official_name, terms)} == {
        name for name in golden if name.startswith(f"{prefix}loss_")
    }
    for name, value in terms.items():
        np.testing.assert_allclose(value, golden[f"{prefix}loss_{official_name(name)}"], **close)
    for gradient, name in zip(gradients, ("gvideo", "gaudio"), strict=True):
        np.testing.assert_allclose(gradient, golden[f"{prefix}{name}"], **close)
    banks = [
        update_bank(jnp.asarray(bank), jnp.asarray(embedding), index=index, present=present)
        for bank, embedding in zip(banks, embeddings, strict=True)
    ]
    for bank, name in zip(banks, ("mem1_after", "mem2_after"), strict=True):
        np.testing.assert_allclose(bank, golden[f"{prefix}{name}"], **close)
    return banks, partition


def official_name(term: str) -> str:
    return next(
        f"{kind}{direction}"
        for kind, ours in KINDS.items()
        for direction, words in DIRECTIONS.items()
        if term == f"{ours}{words}"
    )
