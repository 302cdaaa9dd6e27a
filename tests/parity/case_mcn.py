"""MCN: contrastive and clustering losses, k-means, queue, and the heads with their reconstruction."""

import zlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.multimodal_clusters import (
    centroid_cross_entropy,
    clustered_rows,
    clustering_loss,
    cosine_kmeans,
    masked_margin_softmax,
    pairwise_contrastive,
    push_rows,
    queue_is_full,
    reconstruction_loss,
)
from avssl.models.gated import GatedEmbedding, GatedProjection, WordMaxPool
from avssl.models.reconstruction import Reconstruction

MODALITIES = ("audio", "text", "video")
# Hard-coded in the released queue.
CLIPS_PER_VIDEO, KEPT_PER_VIDEO = 32, 16
RECONSTRUCTION_WEIGHT = 50.0

close = {"rtol": 1e-5, "atol": 1e-6}


def check_mcn(golden: dict[str, np.ndarray]):
    check_masked_margin_softmax(golden)
    check_contrastive_and_clustering(golden)
    check_centroid_cross_entropy(golden)
    check_kmeans(golden)
    check_queue(golden)
    check_network(golden)


def check_masked_margin_softmax(golden: dict):
    """Rows of different records; then of one record whose clips are negatives, as released."""
    size = len(golden["mms_S"])
    distinct = {"index": jnp.arange(size)}
    one_record = {"index": jnp.zeros(size, int), "same_record_negatives": True}
    for suffix, margin in (("", 0.001), ("_m05", 0.5)):
        for options in (distinct, one_record):
            # The products with unit vectors are the matrix itself.
            forward = partial(
                masked_margin_softmax, second=jnp.eye(size), present=jnp.ones(size, bool),
                margin=margin, **options,
            )  # fmt: skip
            compute = jax.jit(jax.value_and_grad(forward, has_aux=True))
            (loss, _), gradient = compute(jnp.asarray(golden["mms_S"]))
            np.testing.assert_allclose(loss, golden[f"mms_loss{suffix}"], **close)
            np.testing.assert_allclose(gradient, golden[f"mms_gS{suffix}"], **close)


def check_contrastive_and_clustering(golden: dict):
    embeddings = {name: jnp.asarray(golden[name]) for name in MODALITIES}
    labels = jnp.asarray(golden["labels"], jnp.int32)
    present = {name: jnp.ones(labels.shape, bool) for name in MODALITIES}

    def forward(embeddings):
        contrastive, _ = pairwise_contrastive(embeddings, present, index=jnp.arange(len(labels)))
        clustering = clustering_loss(
            embeddings, present, centroids=jnp.asarray(golden["centroids"]), labels=labels
        )
        return contrastive + clustering, (contrastive, clustering)

    compute = jax.jit(jax.value_and_grad(forward, has_aux=True))
    (total, (contrastive, clustering)), gradients = compute(embeddings)
    np.testing.assert_allclose(contrastive, golden["contrastive"], **close)
    np.testing.assert_allclose(clustering, golden["cluster"], **close)
    np.testing.assert_allclose(total, golden["total_no_recon"], **close)
    for name in MODALITIES:
        np.testing.assert_allclose(gradients[name], golden[f"g_{name}"], **close)


def check_centroid_cross_entropy(golden: dict):
    labels = jnp.asarray(golden["labels"], jnp.int32)
    centroids, present = jnp.asarray(golden["centroids"]), jnp.ones(labels.shape, bool)
    forward = partial(centroid_cross_entropy, centroids=centroids, labels=labels, present=present)
    loss, gradient = jax.jit(jax.value_and_grad(forward))(jnp.asarray(golden["video"]))
    for form in ("nce0", "nce1"):
        np.testing.assert_allclose(loss, golden[f"cluster_{form}_video"], **close)
    np.testing.assert_allclose(gradient, golden["cluster_nce1_gvideo"], **close)


def check_kmeans(golden: dict):
    """No cluster empties on the way if both rules for empty ones agree with the official run."""
    vectors, start = jnp.asarray(golden["km_X"]), jnp.asarray(golden["km_init"])
    present = jnp.ones(len(vectors), bool)
    for prefix, iterations in (("km", 100), ("km1", 1)):
        for empty_to_zero in (False, True):
            labels, centroids = jax.jit(
                cosine_kmeans, static_argnames=("max_iterations", "empty_to_zero")
            )(
                vectors,
                start,
                present=present,
                max_iterations=iterations,
                empty_to_zero=empty_to_zero,
            )
            np.testing.assert_array_equal(labels, golden[f"{prefix}_labels"])
            np.testing.assert_allclose(centroids, golden[f"{prefix}_centroids"], **close)


def check_queue(golden: dict):
    """The stored golden holds the last of the three queues alone: it is made from the others."""
    calls = sorted(name.removeprefix("queue_in") for name in golden if name.startswith("queue_in"))
    queue = jnp.zeros_like(golden[f"queue_after{calls[-1]}"])
    in_use = jnp.zeros((), bool)
    for call in calls:
        fused = jnp.asarray(golden[f"queue_in{call}"])
        block = len(fused) // CLIPS_PER_VIDEO * KEPT_PER_VIDEO
        in_use = queue_is_full(queue, in_use, block=block)
        rows, counted = clustered_rows(queue, in_use, fused, jnp.ones(len(fused), bool))
        assert int(counted.sum()) == golden[f"queue_outlen{call}"]
        np.testing.assert_array_equal(rows[counted][-len(fused) :], fused)
        assert bool(in_use) == golden[f"queue_used{call}"]
        queue = push_rows(
            queue, fused, clips_per_video=CLIPS_PER_VIDEO, kept_per_video=KEPT_PER_VIDEO
        )
        if f"queue_after{call}" in golden:
            np.testing.assert_array_equal(queue, golden[f"queue_after{call}"])


def official_weights(golden: dict) -> dict[str, np.ndarray]:
    """From the file where they are there, else by the note's recipe."""
    weights = {}
    for key, shape in zip(golden["net_keys"], golden["net_shapes"], strict=True):
        key, shape = str(key), tuple(map(int, str(shape).split("x")))
        if f"net_w/{key}" in golden:
            weights[key] = golden[f"net_w/{key}"]
            continue
        random = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
        scale = 1 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.1
        weights[key] = (random.standard_normal(shape) * scale).astype(np.float32)
    return weights


def dense(weights: dict, key: str) -> dict:
    return {"kernel": weights[f"{key}.weight"].T, "bias": weights[f"{key}.bias"]}


def gated(weights: dict, key: str) -> dict:
    return {"linear": dense(weights, f"{key}.fc"), "gate": dense(weights, f"{key}.cg.fc")}


def check_network(golden: dict):
    weights = official_weights(golden)
    audio_head = {
        "gated": gated(weights, "GU_audio"),
        "projection": dense(weights, "DAVEnet_projection"),
    }
    heads = {
        "audio": (
            GatedProjection(
                weights["GU_audio.fc.weight"].shape[0], golden["net_audio_emb"].shape[1]
            ),
            audio_head,
        ),
        "text": (
            GatedEmbedding(golden["net_text_emb"].shape[1]),
            gated(weights, "GU_text_captions"),
        ),
        "video": (GatedEmbedding(golden["net_video_emb"].shape[1]), gated(weights, "GU_video")),
    }
    words = WordMaxPool(weights["text_pooling_caption.fc.weight"].shape[0])
    present = {name: jnp.ones(len(golden["net_video"]), bool) for name in MODALITIES}

    def forward(inputs):
        pooled = {
            "audio": jnp.mean(inputs["audio"], axis=-1),
            "text": words.apply(
                {"params": {"linear": dense(weights, "text_pooling_caption.fc")}}, inputs["text"]
            ),
            "video": inputs["video"],
        }
        embeddings, errors = {}, {}
        for name, (head, params) in heads.items():
            key = f"recon_{name[0]}"
            mlp = {"linear1": dense(weights, f"{key}.0"), "linear2": dense(weights, f"{key}.2")}
            embeddings[name] = head.apply({"params": params}, pooled[name])
            errors[name] = Reconstruction(weights[f"{key}.0.weight"].shape[0]).apply(
                {"params": {"mlp": mlp}}, embeddings[name], pooled[name], train=True
            )
        loss = RECONSTRUCTION_WEIGHT * reconstruction_loss(errors, present)
        total = loss + sum(jnp.sum(x) for x in embeddings.values())
        return total, (embeddings, errors, loss)

    inputs = {
        "audio": jnp.asarray(golden["net_audio_backbone_out"]),
        "text": jnp.asarray(golden["net_text"]),
        "video": jnp.asarray(golden["net_video"]),
    }
    compute = jax.jit(jax.grad(forward, has_aux=True))
    gradients, (embeddings, errors, loss) = compute(inputs)
    for name in MODALITIES:
        np.testing.assert_allclose(embeddings[name], golden[f"net_{name}_emb"], **close)
        expected = golden[f"net_g{name}"]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(sum(errors.values()), golden["net_recon_per_sample"], **close)
    np.testing.assert_allclose(loss, golden["net_recon_loss_x50"], **close)
