"""What compares each clip of a batch with each other, and the memory that takes."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from avssl.losses.blocks import by_blocks, join_rows, split_rows
from avssl.losses.composition import multi_class_nce
from avssl.losses.contrastive import symmetric_info_nce
from avssl.losses.localization import multiple_instance_loss
from avssl.losses.monitors import cosine_monitors
from avssl.losses.multimodal_clusters import pairwise_contrastive
from avssl.losses.relations import relational_distance, similarity_loss
from avssl.losses.robust import robust_cross_modal_loss, soft_targets
from avssl.losses.spatial import viewpoint_info_nce
from avssl.losses.three_level import similarity_level
from avssl.losses.tri_map import tri_map_loss

BATCH, WIDTH = 1024, 8


def info_nce(video, audio, index, present, blocks=1):
    options = {"temperature": 0.1, "index": index, "present": present, "blocks": blocks}
    return symmetric_info_nce(video, audio, **options)[0]


def robust(video, audio, index, present, blocks=1):
    targets = jax.lax.stop_gradient((2.0 * video, audio + 1.0))
    options = {"index": index, "present": present, "blocks": blocks}
    return robust_cross_modal_loss(video, audio, *targets, soft=soft_targets, **options)[0]


def margin_softmax(video, audio, index, present, blocks=1):
    rows, there = {"video": video, "audio": audio}, {"video": present, "audio": present}
    return pairwise_contrastive(rows, there, index=index, blocks=blocks)[0]


def viewpoints(video, audio, index, present, blocks=1):
    rows = (x.reshape(len(x), 2, -1) for x in (video, audio))
    options = {"mode": "easy_hard", "temperature": 0.1, "index": index, "present": present}
    return viewpoint_info_nce(*rows, **options, blocks=blocks)[0]


def best_positions(video, audio, index, present, blocks=1):
    rows = video.reshape(len(video), 2, -1), audio[:, : WIDTH // 2]
    return multiple_instance_loss(*rows, index=index, present=present, blocks=blocks)[0]


def regions(video, audio, index, present, blocks=1):
    rows = video.reshape(len(video), 2, -1), audio[:, : WIDTH // 2]
    return tri_map_loss(*rows, index=index, present=present, blocks=blocks)[0]


def classes(video, audio, index, present, blocks=1):
    return multi_class_nce(
        video, audio, index, temperature=0.5, present=present, blocks=blocks
    )  # fmt: skip


def likenesses(video, audio, index, present, blocks=1):
    return similarity_level(video, audio, index=index, present=present, blocks=blocks)


def products(video, audio, index, present, blocks=1):
    return similarity_loss(video, audio, present=present, blocks=blocks)


def distances(video, audio, index, present, blocks=1):
    return relational_distance(video, audio, present=present, blocks=blocks)


# Those of teachers teach the first side alone.
IN_BLOCKS = (
    info_nce, robust, margin_softmax, viewpoints, best_positions, regions, classes, likenesses, products,
    distances,
)  # fmt: skip


def monitored(video, audio, index, present):
    return cosine_monitors(video, audio, index=index, present=present)["negative_cosine"]


def compiled(loss, sharding=None):
    def shape(dtype, *sizes):
        return jax.ShapeDtypeStruct((BATCH, *sizes), dtype, sharding=sharding)

    rows, index, present = shape(jnp.float32, WIDTH), shape(jnp.int32), shape(jnp.bool)
    return jax.jit(jax.grad(loss, argnums=(0, 1))).lower(rows, rows, index, present).compile()


def test_parts_are_interleaved_and_joined_again():
    rows = {"a": jnp.arange(12).reshape(6, 2), "b": jnp.arange(6)}
    parts = split_rows(rows, 3)
    np.testing.assert_array_equal(parts["b"], [[0, 3], [1, 4], [2, 5]])
    jax.tree.map(np.testing.assert_array_equal, join_rows(parts), rows)
    doubled = by_blocks(lambda part: part["a"] + part["b"][:, None], rows, blocks=2)
    np.testing.assert_array_equal(doubled, rows["a"] + rows["b"][:, None])


@pytest.mark.parametrize("loss", IN_BLOCKS)
def test_blocks_hold_a_part_of_the_similarities(loss):
    whole, parts = (
        compiled(functools.partial(loss, blocks=blocks)).memory_analysis().temp_size_in_bytes
        for blocks in (1, 16)
    )
    assert whole > 4 * BATCH**2
    assert parts < whole / 8


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("loss", IN_BLOCKS)
def test_in_blocks_it_is_the_same(loss):
    random = np.random.default_rng(0)
    video, audio = (jnp.asarray(random.standard_normal((32, WIDTH))) for _ in range(2))
    index = jnp.asarray(random.integers(0, 16, 32))
    present = jnp.asarray(random.random(32) > 0.1)
    whole, parts = (
        jax.jit(jax.value_and_grad(functools.partial(loss, blocks=number), argnums=(0, 1)))(
            video, audio, index, present
        )
        for number in (1, 8)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-13), parts, whole)


@pytest.mark.parametrize("loss", [*IN_BLOCKS, monitored])
def test_each_of_eight_devices_holds_its_rows_of_the_similarities(loss):
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    program = compiled(loss, NamedSharding(mesh, PartitionSpec(("data", "fsdp")))).as_text()
    shapes = [found.split(",") for found in re.findall(r"f32\[([\d,]+)\]", program)]
    assert not any(shape.count(str(BATCH)) > 1 for shape in shapes)
    rows = any({str(BATCH // 8), str(BATCH)} <= set(shape) for shape in shapes)
    assert rows or loss is monitored
