"""AVSA: transformers, both criteria, ambisonics and crops of equirectangular frames.

Losses and transformers are computed in float64, the official numbers in float32: 1e-5 of an array's
largest value. The released rotation was computed in float64.
"""

import zlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.contrastive import symmetric_info_nce
from avssl.losses.spatial import (
    contrasted_viewpoints,
    spatial_alignment_loss,
    viewpoint_info_nce,
)
from avssl.media.sphere import Viewpoint, crop_frames, sampling_map
from avssl.models import torch_names
from avssl.models.heads import ProjectionMLP
from avssl.models.set_transformer import SetTransformer
from avssl.models.torch_names import Entry, from_torch, to_torch, under
from avssl.signal.ambisonics import decode_mono, rotate_to_view, rotate_yaw, viewing_angles

RELATIVE = 1e-5
# Constants of the note, which no array holds.
TEMPERATURE = 0.07
NUM_HEADS = {"single": 1, "multi": 2}
PROJECTION = 128
YAW = 0.7
MODES = {"avc": "avc", "hard": "hard", "easy+hard": "easy_hard"}
PREDICTIONS = {"audio": "v2a", "video": "a2v"}


def assert_close(actual, expected, name: str):
    actual = np.asarray(actual)
    assert actual.shape == expected.shape, name
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error <= RELATIVE, f"{name}: {error:.2e} > {RELATIVE}"


def wide(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def transformer_table(depth: int) -> torch_names.Table:
    """AVSA's `SimpleTransformer`: ours is `SetTransformer`."""
    linears = {
        "attention.query": "query",
        "attention.key": "key",
        "attention.value": "value",
        "attention.dense": "attended",
        "dense.0": "expanded",
        "dense.2": "reduced",
    }
    norms = {"attention_norm": "attention_norm", "dense_norm": "output_norm"}
    table: torch_names.Table = ()
    for layer in range(depth):
        key, path = f"transformer.{layer}", ("params", f"layer{layer + 1}")
        for theirs, ours in linears.items():
            table += (
                Entry(f"{key}.{theirs}.weight", (*path, ours, "kernel"), "linear"),
                Entry(f"{key}.{theirs}.bias", (*path, ours, "bias"), "vector"),
            )
        for theirs, ours in norms.items():
            table += (
                Entry(f"{key}.{theirs}.weight", (*path, ours, "scale"), "vector"),
                Entry(f"{key}.{theirs}.bias", (*path, ours, "bias"), "vector"),
            )
    return table


def depth_of(keys) -> int:
    layers = {key.split("transformer.")[-1].split(".")[0] for key in keys if "transformer." in key}
    return len(layers)


def check_avsa(golden: dict[str, np.ndarray]):
    with jax.enable_x64(True):
        for name in NUM_HEADS:
            check_transformer(golden, name)
        check_criterion(golden)
        check_joint_loss(golden)
        check_contrastive_loss(golden)
        check_ambisonics(golden)
    check_crops(golden)


def check_transformer(golden: dict[str, np.ndarray], name: str):
    prefix = f"tr_{name}_w/"
    state = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    table = transformer_table(depth_of(state))
    hidden, dim = state["transformer.0.dense.0.weight"].shape
    module = SetTransformer(
        depth=depth_of(state),
        num_heads=NUM_HEADS[name],
        expansion=hidden // dim,
        dropout=0.0,
        dtype=jnp.float64,
    )
    variables = wide(from_torch(table, state))

    @jax.jit
    def forward(x, cotangent):
        y, pullback = jax.vjp(lambda x: module.apply(variables, x, train=True), x)
        return y, pullback(cotangent)[0]

    y, gradient = forward(wide(golden["tr_x"]), wide(golden["tr_cot"]))
    assert_close(y, golden[f"tr_{name}_y"], f"tr_{name}_y")
    assert_close(gradient, golden[f"tr_{name}_gx"], f"tr_{name}_gx")


def official_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The note's recipe."""
    seed = zlib.crc32(f"avsa/{key}".encode()) & 0x7FFFFFFF
    z = np.random.RandomState(seed).standard_normal(shape)
    if len(shape) > 1:
        z /= np.sqrt(shape[-1])
    elif "norm.weight" in key:
        z = 1 + 0.1 * z
    else:
        z *= 0.05
    return z.astype(np.float32)


def criterion_modules(golden: dict[str, np.ndarray]):
    """Modules by their official names, and their variables."""
    depth = depth_of(golden["crit_keys"])
    transformer = SetTransformer(depth=depth, dropout=0.0, dtype=jnp.float64)
    head = ProjectionMLP((PROJECTION,), dtype=jnp.float64)
    modules = {f"{name}_transformer": transformer for name in PREDICTIONS.values()}
    for name in PREDICTIONS:
        modules |= {f"{name}_head": head, f"{name}_pred_head": head}

    x = jnp.zeros(golden["crit_video_emb"].shape)
    variables, keys = {}, set()
    for name, module in modules.items():
        part = transformer_table(depth) if module is transformer else torch_names.projection(1)
        table = under(name, (), part)
        x_of_module = x if module is transformer else x[:, 0]
        abstract = jax.eval_shape(partial(module.init, train=False), jax.random.key(0), x_of_module)
        shapes = to_torch(table, jax.tree.map(lambda leaf: np.empty(leaf.shape), abstract))
        state = {key: official_weight(key, array.shape) for key, array in shapes.items()}
        variables[name] = wide(from_torch(table, state))
        keys |= set(state)
    assert keys == set(map(str, golden["crit_keys"]))
    return modules, variables


def check_criterion(golden: dict[str, np.ndarray]):
    modules, variables = criterion_modules(golden)
    embeddings = {name: wide(golden[f"crit_{name}_emb"]) for name in PREDICTIONS}
    num_clips = len(embeddings["video"])
    index, present = jnp.arange(num_clips), jnp.ones(num_clips, bool)

    def project_with(variables, mode, name, x):
        x = contrasted_viewpoints(x, mode=mode)
        projected = modules[name].apply(variables[name], x.reshape(-1, x.shape[-1]), train=False)
        return projected.reshape(*x.shape[:2], -1)

    def loss_of(video, audio, variables, mode, transformers):
        project = partial(project_with, variables, mode)
        targets, predictions = {"video": video, "audio": audio}, {"video": audio, "audio": video}
        for name, transformer in PREDICTIONS.items():
            if transformers:
                part = f"{transformer}_transformer"
                predictions[name] = modules[part].apply(
                    variables[part], predictions[name], train=False
                )
        return spatial_alignment_loss(
            *(project(f"{name}_head", targets[name]) for name in ("video", "audio")),
            video_prediction=project("video_pred_head", predictions["video"]),
            audio_prediction=project("audio_pred_head", predictions["audio"]),
            mode=mode,
            temperature=TEMPERATURE,
            index=index,
            present=present,
        )

    for official, mode in MODES.items():
        for transformers in (0, 1):
            gradient_of = jax.jit(
                jax.value_and_grad(
                    partial(loss_of, mode=mode, transformers=transformers), (0, 1), has_aux=True
                )
            )
            (loss, _), gradients = gradient_of(embeddings["video"], embeddings["audio"], variables)
            key = f"crit_{official}_tf{transformers}"
            assert_close(loss, golden[f"{key}_loss"], f"{key}_loss")
            assert_close(gradients[0], golden[f"{key}_gvideo"], f"{key}_gvideo")
            assert_close(gradients[1], golden[f"{key}_gaudio"], f"{key}_gaudio")


def check_joint_loss(golden: dict[str, np.ndarray]):
    num_clips = len(golden["joint_pred"])
    loss_of = partial(
        viewpoint_info_nce,
        mode="easy_hard",
        temperature=TEMPERATURE,
        index=jnp.arange(num_clips),
        present=jnp.ones(num_clips, bool),
    )
    gradient_of = jax.jit(jax.value_and_grad(loss_of, (0, 1), has_aux=True))
    (loss, _), gradients = gradient_of(wide(golden["joint_pred"]), wide(golden["joint_trg"]))
    assert_close(loss, golden["joint_loss"], "joint_loss")
    assert_close(gradients[0], golden["joint_gpred"], "joint_gpred")
    assert_close(gradients[1], golden["joint_gtrg"], "joint_gtrg")


def check_contrastive_loss(golden: dict[str, np.ndarray]):
    """The first stage of the curriculum."""
    variables, widths = {}, {}
    for name in ("video", "audio"):
        prefix = f"avc_w/{name}_projection."
        state = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
        widths[name] = tuple(v.shape[0] for key, v in state.items() if key.endswith("weight"))
        variables[name] = wide(from_torch(torch_names.projection(len(widths[name])), state))
    num_clips = len(golden["avc_video"])

    def loss_of(video, audio):
        projected = (
            ProjectionMLP(widths[name], dtype=jnp.float64).apply(variables[name], x, train=False)
            for name, x in (("video", video), ("audio", audio))
        )
        return symmetric_info_nce(
            *projected,
            temperature=TEMPERATURE,
            index=jnp.arange(num_clips),
            present=jnp.ones(num_clips, bool),
        )

    gradient_of = jax.jit(jax.value_and_grad(loss_of, (0, 1), has_aux=True))
    (loss, _), gradients = gradient_of(wide(golden["avc_video"]), wide(golden["avc_audio"]))
    assert_close(loss, golden["avc_loss"], "avc_loss")
    assert_close(gradients[0], golden["avc_gv"], "avc_gv")
    assert_close(gradients[1], golden["avc_ga"], "avc_ga")


def check_ambisonics(golden: dict[str, np.ndarray]):
    angles = viewing_angles(jnp.asarray(golden["centers_xy"]))
    exact = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    exact(np.stack(angles, axis=1), golden["polar_phi_nu"])
    sound = wide(golden["amb"].T)
    of_views = jax.jit(
        lambda sound, *angles: jax.vmap(
            lambda *angles: (
                rotate_to_view(sound, *angles, official_order=True),
                decode_mono(sound, *angles),
            )
        )(*angles)
    )
    rotated, mono = of_views(sound, *angles)
    exact(np.swapaxes(rotated, 1, 2), golden["amb_rot"])
    exact(mono[:, None], golden["amb_mono_decode"])
    turned = rotate_yaw(sound, jnp.asarray(YAW))
    assert_close(turned.T, golden["amb_misalign_yaw07"], "amb_misalign_yaw07")


def check_crops(golden: dict[str, np.ndarray]):
    frame, crops = golden["er_frame"], golden["nfov_crops"]
    for center, expected in zip(golden["centers_xy"], crops, strict=True):
        viewpoint = Viewpoint(*center, *golden["nfov_fov"])
        sampling = sampling_map(
            viewpoint, frame.shape[:2], expected.shape[:2], released_sampling=True
        )
        np.testing.assert_array_equal(crop_frames(frame[None], sampling)[0], expected)
