"""DMC: Simplified_DMC's clusters, network and loss, and the paper's projected clusters ('formula').

In float64: assignments are nearly hard (sharpness 30), so that float32's rounding is magnified, and
the official run's own is enough. `near` is relative to an array's largest value.
"""

import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.soft_clusters import (
    center_distances,
    cluster_cosines,
    contrastive_distance_loss,
    max_margin_loss,
    projected_clusters,
    soft_kmeans,
)


def near(actual, expected, name: str):
    expected = np.asarray(expected, np.float64)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * scale, err_msg=name)


def check_dmc(golden: dict[str, np.ndarray]):
    with jax.enable_x64(True):
        floats = {
            name: jnp.asarray(value, jnp.float64)
            for name, value in golden.items()
            if value.dtype.kind == "f"
        }
        check_clusters(floats)
        check_network(floats)
        check_contrastive(floats)
        check_projected(floats)


def check_clusters(golden: dict):
    names = [name.removesuffix("centers") for name in golden if name.startswith("cl_k")]
    prefixes = [name for name in names if f"{name}centers" in golden]
    assert prefixes
    for prefix in prefixes:
        num_clusters, sharpness = map(int, re.fullmatch(r"cl_k(\d+)_b(\d+)_", prefix).groups())

        def forward(vectors, num_clusters=num_clusters, sharpness=sharpness, prefix=prefix):
            centers, assignment = soft_kmeans(
                vectors, num_clusters=num_clusters, sharpness=float(sharpness)
            )
            return jnp.sum(centers * golden[f"{prefix}cot"]), (centers, assignment)

        gradient, (centers, assignment) = jax.jit(jax.grad(forward, has_aux=True))(golden["cl_x"])
        near(centers, golden[f"{prefix}centers"], f"{prefix}centers")
        near(assignment, golden[f"{prefix}assign"], f"{prefix}assign")
        near(gradient, golden[f"{prefix}gx"], f"{prefix}gx")


def linear(name: str, size: int, like: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The note's recipe: weight and bias of one layer from one generator."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    weight = (random.standard_normal((size, size)) / np.sqrt(size)).astype(np.float32)
    bias = (random.standard_normal(size) * 0.1).astype(np.float32)
    return jnp.asarray(weight, like.dtype), jnp.asarray(bias, like.dtype)


def check_network(golden: dict):
    corresponds = golden["net_labels"] == 1

    def vectors(features, name):
        weight, bias = linear(name, features.shape[1], features)
        rows = features.reshape(*features.shape[:2], -1).swapaxes(1, 2)
        return jnp.einsum("bnc,dc->bnd", rows, weight, precision="highest") + bias[None, None]

    num_video, num_audio = golden["net_dist_all"].shape[1:]

    def forward(video, audio):
        video, assignment = soft_kmeans(vectors(video, "fc_v_1"), num_clusters=num_video)
        audio, _ = soft_kmeans(vectors(audio, "fc_a_1"), num_clusters=num_audio)
        distances = center_distances(video, audio)
        nearest = jnp.min(distances, axis=1)
        loss, _ = contrastive_distance_loss(
            nearest, corresponds, present=jnp.ones_like(corresponds)
        )
        return loss, (assignment, distances, nearest)

    compute = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
    (loss, (assignment, distances, nearest)), gradients = compute(
        golden["net_vfeat"], golden["net_afeat"]
    )
    near(assignment, golden["net_v_assign"], "net_v_assign")
    near(distances, golden["net_dist_all"], "net_dist_all")
    near(nearest, golden["net_distance"], "net_distance")
    near(loss, golden["net_loss"], "net_loss")
    near(gradients[0], golden["net_gv"], "net_gv")
    near(gradients[1], golden["net_ga"], "net_ga")


def check_contrastive(golden: dict):
    corresponds = golden["con_labels"] == 1
    loss, gradient = jax.jit(
        jax.value_and_grad(
            lambda d: contrastive_distance_loss(d, corresponds, present=jnp.ones_like(corresponds))[
                0
            ]
        )
    )(golden["con_d"])
    near(loss, golden["con_loss"], "con_loss")
    near(gradient, golden["con_gd"], "con_gd")


def check_projected(golden: dict):
    num_clusters, dim = golden["f_centers_sound"].shape[1:]
    names = {"sound": "f_real_sound", "image": "f_image", "fake": "f_fake_sound"}

    def forward(inputs):
        weight = inputs["f_W"].reshape(-1, num_clusters, dim)
        clusters = {k: projected_clusters(inputs[name], weight) for k, name in names.items()}
        score = {
            k: jnp.sum(cluster_cosines(clusters[k][0], clusters["image"][0]), axis=1)
            for k in ("sound", "fake")
        }
        present = jnp.ones(score["sound"].shape, bool)
        loss, _ = max_margin_loss(
            score["sound"], score["fake"], margin=float(num_clusters), present=present
        )
        return loss, (clusters, score)

    inputs = {name: golden[name] for name in (*names.values(), "f_W")}
    compute = jax.jit(jax.value_and_grad(forward, has_aux=True))
    (loss, (clusters, score)), gradients = compute(inputs)
    for kind, (centers, assignment) in clusters.items():
        near(centers, golden[f"f_centers_{kind}"], f"f_centers_{kind}")
        if f"f_assign_{kind}" in golden:
            near(assignment, golden[f"f_assign_{kind}"], f"f_assign_{kind}")
    near(score["sound"], golden["f_cos_right"], "f_cos_right")
    near(score["fake"], golden["f_cos_wrong"], "f_cos_wrong")
    near(loss, golden["f_loss"], "f_loss")
    near(gradients["f_W"], golden["f_gW"], "f_gW")
    for name in names.values():
        near(gradients[name], golden[name.replace("f_", "f_g_", 1)], name)
