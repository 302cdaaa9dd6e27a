"""XDC's k-means and loss, SeLaVi's Sinkhorn, alignment, loss and schedule, de Sa's on-line updates."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from avssl.losses.disagreement import minimise_disagreement
from avssl.losses.kmeans import kmeans
from avssl.losses.pseudo_labels import two_modality_loss
from avssl.losses.self_labelling import alignment_cost, multi_head_loss, solve_times
from avssl.losses.sinkhorn import (
    log_joint_posterior,
    match_popularity,
    plan,
    sinkhorn,
    uniform_marginal,
)
from avssl.objectives.alignment import best_permutation, permute_outputs

close = {"rtol": 1e-5, "atol": 1e-6}
exact = {"rtol": 1e-9, "atol": 1e-12}
# In the order of the golden's columns.
TRACE = (
    "video_class", "audio_class", "video_nearest", "audio_nearest", "video_moved", "audio_moved",
)  # fmt: skip
SOLVE = re.compile(r"(sk_(default|gauss)_lamb(\d+)_h(\d+)_)labels")


def codebook(prototypes, labels) -> dict[str, jax.Array]:
    return {"prototypes": prototypes, "labels": labels}


def check_xdc(golden: dict):
    clusters = jax.jit(kmeans)
    for modality in ("video", "audio"):
        features, initial = (jnp.asarray(golden[f"{modality}_{x}"]) for x in ("feat", "init"))
        found = clusters(features, initial)
        np.testing.assert_array_equal(found["labels"], golden[f"{modality}_labels"])
        np.testing.assert_allclose(found["centroids"], golden[f"{modality}_centroids"], **close)
        np.testing.assert_allclose(found["inertia"], golden[f"{modality}_inertia"], rtol=1e-5)
        assert found["num_iterations"] == golden[f"{modality}_niter"]
    check_cross_labels(golden)


def check_cross_labels(golden: dict):
    everywhere = np.ones(len(golden["video_labels"]), bool)

    def loss(video, audio):
        return two_modality_loss(
            video,
            audio,
            video_targets=jnp.asarray(golden["audio_labels"]),
            audio_targets=jnp.asarray(golden["video_labels"]),
            video_present=jnp.asarray(everywhere),
            audio_present=jnp.asarray(everywhere),
        )[0]

    logits = jnp.asarray(golden["logits_v"]), jnp.asarray(golden["logits_a"])
    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(*logits)
    np.testing.assert_allclose(value, golden["xdc_loss_sum"], rtol=1e-5)
    np.testing.assert_allclose(gradients[0], golden["gv"], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(gradients[1], golden["ga"], rtol=1e-5, atol=1e-8)


def check_selavi(golden: dict):
    check_solves(golden)
    with jax.enable_x64(True):
        check_solves(golden)
        check_alignment(golden)
    check_multi_head(golden)
    check_schedule(golden)


def check_solves(golden: dict):
    """Labels and steps in either precision; the plan to the last digits, which only float64 has."""
    in_float64 = jnp.result_type(float) == jnp.float64
    arrays = (jnp.asarray(golden[f"logits_{side}"]).astype(float) for side in ("v", "a"))
    log_posterior = log_joint_posterior(*arrays)
    joint = posterior(golden, "v") * posterior(golden, "a")
    solve = jax.jit(sinkhorn, static_argnames="sharpness")
    stems = [match for match in map(SOLVE.fullmatch, golden) if match]
    assert stems
    for prefix, distribution, sharpness, head in (match.groups() for match in stems):
        marginal = uniform_marginal(log_posterior.shape[1])
        if distribution == "gauss":
            marginal = released_marginal(golden, prefix, int(head), log_posterior)
        found = solve(log_posterior, marginal, sharpness=float(sharpness))
        np.testing.assert_array_equal(found["labels"], golden[f"{prefix}labels"])
        assert found["num_steps"] == golden[f"{prefix}steps"]
        np.testing.assert_allclose(found["cost"], golden[f"{prefix}cost"], rtol=1e-6)
        np.testing.assert_allclose(marginal, golden[f"{prefix}r"][:, 0], rtol=1e-6)
        if in_float64:
            np.testing.assert_allclose(found["error"], golden[f"{prefix}err"], **exact)
            transported = plan(log_posterior, found, sharpness=float(sharpness))
            check_scalings(golden, prefix, joint ** (0.5 * float(sharpness)), found, transported)


def posterior(golden: dict, side: str) -> np.ndarray:
    """In float64; a copy of the golden leaves it out, as it follows from the logits."""
    logits = golden[f"logits_{side}"].astype(np.float64)
    return golden.get(f"p_{side}", scipy.special.softmax(logits, axis=1))


def check_scalings(golden: dict, prefix: str, powers: np.ndarray, found, transported: jax.Array):
    """Row scalings and plan follow from the column scalings, so a copy leaves them out as well."""
    columns = golden[f"{prefix}alpha"]
    rows = golden.get(f"{prefix}beta", 1.0 / len(powers) / (powers @ columns))
    expected = golden.get(f"{prefix}Q", rows * powers * columns.T)
    np.testing.assert_allclose(np.exp(found["log_columns"]), columns[:, 0], rtol=1e-9)
    np.testing.assert_allclose(np.exp(found["log_rows"]), rows[:, 0], rtol=1e-9)
    np.testing.assert_allclose(transported, expected, rtol=1e-9, atol=1e-20)


def released_marginal(golden: dict, prefix: str, head: int, log_posterior) -> jax.Array:
    mass = 1.0 / golden["gauss_Kdist"][head][:, 0]
    marginal = match_popularity(
        jnp.asarray(mass / mass.sum(), log_posterior.dtype), log_posterior, released=True
    )
    after = 1.0 / golden[f"{prefix}Kdist_after"][:, 0]
    np.testing.assert_allclose(marginal, after / after.sum(), rtol=1e-6)
    return marginal


def check_alignment(golden: dict):
    video = golden.get("match_emb1", posterior(golden, "v"))
    audio = golden["match_emb2"]
    present = jnp.ones(len(video), bool)
    cost = alignment_cost(jnp.asarray(video), jnp.asarray(audio), present=present)
    found = best_permutation(cost)
    rows = np.arange(len(found))
    np.testing.assert_allclose(np.trace(cost), golden["match_cost_before"], **exact)
    for least in ("match_cost_after", "match_hungarian_cost"):
        np.testing.assert_allclose(cost[rows, found].sum(), golden[least], **exact)
    np.testing.assert_array_equal(found, golden["match_hungarian_perm"])
    np.testing.assert_array_equal(found, golden["match_perm"])
    # PyTorch keeps outputs in rows, Flax in columns.
    layer = {"kernel": golden["match_W_before"].T, "bias": golden["match_b_before"]}
    moved = permute_outputs(layer, found)
    np.testing.assert_array_equal(moved["kernel"].T, golden["match_W_after"])
    np.testing.assert_array_equal(moved["bias"], golden["match_b_after"])


def check_multi_head(golden: dict):
    labels = jnp.asarray(golden["ce_targets"], jnp.int32)
    present = jnp.ones(len(labels), bool)

    def loss(video, audio):
        return multi_head_loss(video, audio, labels, video_present=present, audio_present=present)[
            0
        ]

    logits = jnp.asarray(golden["ce_logits_v"]), jnp.asarray(golden["ce_logits_a"])
    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(*logits)
    np.testing.assert_allclose(value, golden["ce_loss"], rtol=1e-5)
    halves = 0.5 * golden["ce_loss_v"] + 0.5 * golden["ce_loss_a"]
    np.testing.assert_allclose(value, halves, rtol=1e-5)
    np.testing.assert_allclose(gradients[0], golden["ce_gv"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradients[1], golden["ce_ga"], rtol=1e-5, atol=1e-7)


def check_schedule(golden: dict):
    """The released list is popped from its end, and starts with a time that is never reached."""
    never, *times = golden["sk_schedule_iters"]
    mine = solve_times(round(max(times)), num_solves=len(times))
    np.testing.assert_allclose(mine[::-1], times, rtol=1e-12, atol=1e-9)
    assert never > mine[-1]


def check_desa(golden: dict):
    with jax.enable_x64(True):
        num_pairs = len(golden["X1"])
        video, audio, trace = jax.jit(minimise_disagreement)(
            *(
                codebook(jnp.asarray(golden[f"W{m}_init"]), jnp.asarray(golden[f"L{m}"]))
                for m in (1, 2)
            ),
            jnp.asarray(golden["X1"]),
            jnp.asarray(golden["X2"]),
            step_size=jnp.full(num_pairs, golden["alpha"]),
            window=jnp.full(num_pairs, golden["window"]),
        )
        np.testing.assert_allclose(video["prototypes"], golden["W1_final"], **exact)
        np.testing.assert_allclose(audio["prototypes"], golden["W2_final"], **exact)
        columns = [np.reshape(trace[name], (num_pairs, -1)) for name in TRACE]
        np.testing.assert_array_equal(np.concatenate(columns, axis=1), golden["trace"])
        for side, labels in ((video, golden["L1"]), (audio, golden["L2"])):
            np.testing.assert_array_equal(side["labels"], labels)
