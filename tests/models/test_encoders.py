import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.models.heads import ProjectionMLP
from avssl.models.registry import ENCODERS, build_encoder, encoder_fields
from tests.models.drawing import drawn

INPUTS = {"video": (2, 3, 64, 64, 3), "audio": (2, 80, 64, 1)}
# Of those that hear a waveform, or see tubelets.
SAMPLES = {
    "soundnet5": (2, 4000, 1, 1),
    "soundnet8": (2, 11025, 1, 1),
    "vit_video": (2, 2, 64, 64, 3),
}
# It has no parameters, and gives the type that it is given.
UNLIKE_OTHERS = ("identity_audio",)
HALVE_TIME = ("r2plus1d18", "r2plus1d18_torchvision", "r3d_18", "vit_video")


def shapes(encoder, shape, dtype=jnp.float32):
    """Shapes of the variables, and of the features in training; nothing is computed."""
    x = jax.ShapeDtypeStruct(shape, dtype)
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda key, x: encoder.init(key, x, train=False), key, x)
    features, _ = jax.eval_shape(
        lambda v, x: encoder.apply(v, x, train=True, mutable=["batch_stats"]), variables, x
    )
    return variables, features


@pytest.mark.parametrize("name", sorted(ENCODERS.keys() - set(UNLIKE_OTHERS)))
@pytest.mark.parametrize(("dtype", "held"), [("bfloat16", "float32"), ("float64", "float64")])
@pytest.mark.usefixtures("float64")
def test_every_encoder_keeps_the_contract(name, dtype, held):
    encoder = build_encoder("main", {"name": name}, jnp.dtype(dtype))
    shape = SAMPLES.get(name, INPUTS[encoder.modality])
    variables, features = shapes(encoder, shape, jnp.dtype(held))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
    # Of patches, places are numbers, and inputs came as they are.
    computed = features.replace(patches=features.patches and features.patches.seen)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(computed)} == {dtype}
    assert features.embedding.ndim == 2
    for map_ in (features.map, *features.taps.values()):
        assert map_.shape[0] == 2
        assert map_.ndim == len(shape)
    if encoder.modality == "video":
        assert features.map.shape[1] == (1 if name in HALVE_TIME else 3)


@pytest.mark.parametrize(
    "name", sorted(name for name, cls in ENCODERS.items() if getattr(cls, "any_length", False))
)
def test_what_hears_any_length_has_the_same_weights_and_embedding_for_each(name):
    encoder = build_encoder("main", {"name": name}, jnp.float32)
    batch, length, *bands = SAMPLES.get(name, INPUTS["audio"])
    variables, features = shapes(encoder, (batch, length, *bands))
    longer, more = shapes(encoder, (batch, 3 * length + 1, *bands))
    assert longer == variables
    assert more.embedding == features.embedding
    assert more.map.shape[1] > features.map.shape[1]


def test_the_identity_is_what_the_front_end_gives():
    encoder = build_encoder("main", {"name": "identity_audio"}, jnp.bfloat16)
    x = jnp.arange(12, dtype=jnp.float32).reshape(2, 3, 2, 1)
    features, variables = encoder.init_with_output(jax.random.key(0), x, train=True)
    assert not variables
    assert features.embedding.tolist() == [list(range(6)), list(range(6, 12))]
    assert features.embedding.dtype == jnp.float32


def num_values(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_avid_sizes():
    video, video_features = shapes(ENCODERS["r2plus1d18"](), (1, 8, 224, 224, 3))
    audio, audio_features = shapes(ENCODERS["conv2d10"](), (1, 200, 257, 1))
    head = jax.eval_shape(
        lambda x: ProjectionMLP().init(jax.random.key(0), x, train=False), jnp.zeros((1, 512))
    )
    assert num_values(video) + num_values(audio) + 2 * num_values(head) == 21_306_240
    assert video_features.map.shape == (1, 1, 7, 7, 512)
    assert audio_features.map.shape == (1, 13, 17, 512)


def test_l3_sizes():
    _, video = shapes(ENCODERS["l3_video"](), (1, 1, 224, 224, 3))
    _, audio = shapes(ENCODERS["l3_audio"](), (1, 199, 257, 1))
    assert video.map.shape == (1, 1, 28, 28, 512)
    assert audio.map.shape == (1, 24, 32, 512)


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "map_shape"),
    [
        # torchvision's own counts, less those of the classifier.
        ("r2plus1d18_torchvision", (1, 32, 112, 112, 3), 31_505_325 - 205_200, (4, 7, 7)),
        ("mc3_18", (1, 25, 224, 224, 3), 11_695_440 - 205_200, (25, 14, 14)),
        ("r3d_18", (1, 16, 112, 112, 3), 33_371_472 - 205_200, (2, 7, 7)),
        ("resnet18_audio", (1, 224, 224, 3), 11_689_512 - 513_000, (7, 7)),
        ("resnet18_video", (1, 2, 224, 224, 3), 11_689_512 - 513_000, (2, 7, 7)),
        ("resnet34_audio", (1, 224, 224, 3), 21_797_672 - 513_000, (7, 7)),
        ("resnet34_video", (1, 1, 112, 112, 3), 21_797_672 - 513_000, (1, 4, 4)),
        ("resnet18_audio", (1, 99, 257, 1), 11_689_512 - 513_000 - 2 * 64 * 49, (4, 9)),
        # One block of two 3x3 layers less per stage.
        (
            "resnet9_audio",
            (1, 99, 257, 1),
            11_689_512
            - 513_000
            - 2 * 64 * 49
            - sum(2 * (9 * width**2 + 2 * width) for width in (64, 128, 256, 512)),
            (4, 9),
        ),
        ("vgg16_video", (1, 1, 256, 256, 3), 138_357_544 - 123_642_856, (1, 16, 16)),
        ("vggish_audio", (1, 199, 64, 1), 4_499_712, (25, 8)),
    ],
)
def test_official_sizes(name, shape, parameters, map_shape):
    variables, features = shapes(ENCODERS[name](), shape)
    assert num_values(variables["params"]) == parameters
    assert features.map.shape == (1, *map_shape, 512)
    assert features.embedding.shape == (1, 512)


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "map_shape", "size"),
    [
        # torchvision's own count, less that of the classifier.
        ("resnet50_video", (1, 1, 224, 224, 3), 25_557_032 - 2_049_000, (1, 7, 7, 2048), 2048),
        ("resnet50_audio", (1, 224, 224, 3), 25_557_032 - 2_049_000, (7, 7, 2048), 2048),
        # What the released code counts as trained, its frozen stem and first stage, and BatchNorm's.
        (
            "detr_resnet50_video",
            (1, 1, 800, 800, 3),
            41_302_368 + 222_400 + 53_120,
            (1, 25, 25, 1),
            256,
        ),
        # The paper's count, less that of the classifier.
        ("cnn14", (1, 1001, 64, 1), 80_753_615 - 2049 * 527, (31, 2, 2048), 2048),
        # WeSpeaker's "6.63M" at 80 bands.
        ("speaker_resnet34", (1, 200, 80, 1), 6_634_336, (25, 10, 256), 256),
        # By the sheet's table of layers: kernels, biases, norms.
        (
            "soundnet8",
            (1, 441_000, 1, 1),
            sum(
                (kernel * before + 3) * width
                for kernel, before, width in (
                    (64, 1, 16), (32, 16, 32), (16, 32, 64), (8, 64, 128), (4, 128, 256),
                    (4, 256, 512), (4, 512, 1024),
                )
            ),
            (15, 1, 1024),
            1024,
        ),
        (
            "soundnet5",
            (1, 441_000, 1, 1),
            sum(
                (kernel * before + 3) * width
                for kernel, before, width in ((64, 1, 32), (32, 32, 64), (16, 64, 128), (8, 128, 256))
            ),
            (54, 1, 256),
            256,
        ),
    ],
)  # fmt: skip
def test_official_sizes_of_other_widths(name, shape, parameters, map_shape, size):
    variables, features = shapes(ENCODERS[name](), shape)
    assert num_values(variables["params"]) == parameters
    assert features.map.shape == (1, *map_shape)
    assert features.embedding.shape == (1, size)


@pytest.mark.parametrize(
    "name", ["l3_video", "small_video", "linear_video", "vgg16_video", "resnet18_video"]
)
def test_frames_are_averaged(name):
    narrow = {
        "l3_video": {"widths": [4, 4, 4, 4]},
        "small_video": {"stem_width": 4, "widths": [4, 4, 4]},
        "vgg16_video": {"widths": [4, 4], "layers": [1, 2]},
        "resnet18_video": {"widths": [4, 4, 4, 4], "blocks": [1, 1, 1, 1]},
    }
    encoder = build_encoder("main", {"name": name, **narrow.get(name, {})}, jnp.float32)
    x = jax.random.uniform(jax.random.key(0), (2, 2, 32, 32, 3))
    variables = drawn(encoder, x.shape)
    apply = jax.jit(lambda x: encoder.apply(variables, x, train=False).embedding)
    both = apply(x)
    each = [apply(jnp.repeat(x[:, frame, None], 2, axis=1)) for frame in (0, 1)]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("small_video", {"stem_width": 4, "widths": [4, 4, 4]}),
        ("small_audio", {"widths": [4, 4]}),
    ],
)
def test_kept_time_tells_when(name, keys):
    """Two inputs of the same frames in another order: alike in the mean, or maximum, over time."""
    first = np.zeros((8, 32, 32, 3) if name == "small_video" else (64, 16, 1), np.float32)
    moment = len(first) // 4
    first[:moment] = np.random.default_rng(0).normal(size=first[:moment].shape)
    x = jnp.asarray(np.stack([first, np.roll(first, 2 * moment, axis=0)]))

    def gap(keep_time):
        encoder = build_encoder("main", {"name": name, "keep_time": keep_time, **keys}, jnp.float32)
        variables = drawn(encoder, x.shape)
        embed = jax.jit(lambda x: encoder.apply(variables, x, train=False).embedding)
        one, other = embed(x)
        return np.abs(one - other).max() / np.abs(one).max()

    assert gap(False) < 0.1
    assert gap(True) > 0.5


def test_temporal_layer_sees_what_follows_what():
    """Played backwards, every frame of a clip is the same and its motion is not."""
    frames = np.random.default_rng(0).normal(size=(1, 6, 32, 32, 3))
    x = jnp.asarray(np.concatenate([frames, frames[:, ::-1]]), jnp.float32)

    def gap(temporal_width):
        keys = {"stem_width": 4, "widths": [4, 4, 4], "temporal_width": temporal_width}
        encoder = build_encoder("main", {"name": "small_video", **keys}, jnp.float32)
        variables = drawn(encoder, x.shape)
        one, other = jax.jit(lambda x: encoder.apply(variables, x, train=False).embedding)(x)
        return np.abs(one - other).max() / np.abs(one).max()

    assert gap(0) < 1e-5
    assert gap(4) > 1e-2


@pytest.mark.parametrize("name", ["small_audio", "small_video", "linear_audio", "linear_video"])
def test_dropout_draws_by_row(name):
    encoder = build_encoder("main", {"name": name, "dropout": 0.5}, jnp.float32)
    batch, *rest = INPUTS[encoder.modality]
    x = jnp.broadcast_to(jax.random.uniform(jax.random.key(0), (1, *rest)), (batch, *rest))
    variables = drawn(encoder, x.shape)

    @jax.jit
    def embed(rows):
        rngs = {"draw": jax.random.key(2)}
        features, _ = encoder.apply(
            variables, x, train=True, rows=rows, rngs=rngs, mutable=["batch_stats"]
        )
        return features.embedding == 0

    masks = np.concatenate([embed(jnp.array([0, 1])), embed(jnp.array([1, 7]))])
    np.testing.assert_array_equal(masks[1], masks[2])
    assert len(np.unique(masks, axis=0)) == 3


def test_linear_encoders_take_inputs_smaller_than_a_patch():
    _, features = shapes(ENCODERS["linear_video"](), (2, 1, 5, 20, 3))
    assert features.map.shape == (2, 1, 1, 4, 32)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_head_has_no_relu_at_its_end(batch_norm):
    head = ProjectionMLP((16, 8), batch_norm=batch_norm)
    x = jax.random.normal(jax.random.key(0), (32, 6))
    variables = drawn(head, x.shape)
    assert ("batch_stats" in variables) == batch_norm
    assert sorted(variables["params"])[:2] == ["linear1", "linear2"]
    y = head.apply(variables, x, train=False)
    assert y.shape == (32, 8)
    assert (np.asarray(y) < 0).any()


def test_fields_are_the_config_keys():
    config = {
        "name": "r2plus1d18",
        "modality": "video",
        "frontend": {"name": "rgb"},
        "widths": [4, 4, 4, 4],
    }
    encoder = build_encoder("video", config, jnp.bfloat16)
    assert (encoder.widths, encoder.blocks) == ((4, 4, 4, 4), (2, 2, 2, 2))
    assert encoder.dtype == jnp.bfloat16
    assert set(encoder_fields(ENCODERS["small_video"])) == {
        "stem_width",
        "widths",
        "strides",
        "temporal_width",
        "keep_time",
        "dropout",
    }


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"name": "smal_video"}, "encoders.video.name.*did you mean 'small_video'"),
        ({}, "encoders.video.name"),
        ({"name": "small_video", "width": 3}, "encoders.video.*did you mean 'widths'"),
        ({"name": "small_audio", "modality": "video"}, "takes audio"),
    ],
)
def test_mistakes_in_a_config_are_named(config, sentence):
    with pytest.raises(UsageError, match=sentence):
        build_encoder("video", config, jnp.float32)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"name": "r2plus1d18", "widths": (64, 128)}, "2 of .*widths, 4 of encoders.video.blocks"),
        ({"name": "r2plus1d18", "blocks": (1, 1)}, "4 of .*widths, 2 of encoders.video.blocks"),
        ({"name": "r2plus1d18", "blocks": (), "widths": ()}, "0 of encoders.video.blocks"),
        ({"name": "conv2d10", "strides": (2, 2)}, "2 of encoders.video.strides: it takes 4"),
        ({"name": "resdavenet", "widths": (8, 8)}, "2 of .*widths, 4 of .*blocks"),
        ({"name": "r3d_18", "widths": (8, 8), "blocks": (1, 1)}, "it takes 4 widths, 4 blocks$"),
        ({"name": "small_detector_video", "widths": (8, 8), "blocks": (1, 1)}, "4 blocks$"),
        ({"name": "soundnet8", "widths": (8, 8)}, "2 of encoders.video.widths: it takes 7"),
        ({"name": "r3d_18", "widths": 64}, "encoders.video.widths must be several numbers"),
        ({"name": "small_video", "stem_width": (8, 8)}, "stem_width must be one value"),
        ({"name": "r3d_18", "norm_epsilon": 0.0}, "norm_epsilon must be above 0, not 0.0"),
        (
            {"name": "r3d_18", "norm_momentum": 1.5},
            "norm_momentum must be between 0 and 1, not 1.5",
        ),
        ({"name": "conv2d10", "strides": (2, 2, 0, 1)}, "strides must be at least 1, not 0"),
        ({"name": "r3d_18", "blocks": (1, 0, 1, 1)}, "blocks must be at least 1, not 0"),
        ({"name": "small_audio", "widths": (8, 0, 8)}, "widths must be at least 1, not 0"),
        ({"name": "small_audio", "widths": (8, 8.5, 8)}, "widths must be whole, not 8.5"),
        ({"name": "linear_audio", "patch": 0}, "encoders.video.patch must be at least 1, not 0"),
        ({"name": "vit_video", "patch": (2, 16)}, "encoders.video.patch must be 3 numbers"),
        ({"name": "cnn14", "embedding_size": 0}, "embedding_size must be at least 1"),
        ({"name": "resdavenet", "kernel": 8}, "encoders.video.kernel must be odd"),
        ({"name": "small_detector_video", "num_anchors": 3}, "num_anchors must be 9, .* not 3"),
    ],
)
def test_values_that_no_encoder_can_have(config, sentence):
    with pytest.raises(UsageError, match=sentence):
        build_encoder("video", config, jnp.float32)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_an_encoder_can_have_its_own_values(name):
    """As lists, as which a stored config has them."""
    own = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in encoder_fields(ENCODERS[name]).items()
    }
    assert build_encoder("main", {"name": name, **own}, jnp.float32) == ENCODERS[name]()
