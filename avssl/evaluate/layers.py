"""Inner layers of the encoders as features, beside their embeddings: which layer carries what?"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from avssl.errors import UsageError, unknown
from avssl.models.features import Features
from avssl.objectives.base import Read
from avssl.train.model import Model

MODALITIES = ("video", "audio")


def checked_layers(layers: Sequence[str]) -> tuple[str, ...]:
    """`video.layer2`: a modality and a tap of its encoder, which `avssl list encoders --verbose` names."""
    for layer in layers:
        modality, dot, tap = layer.partition(".")
        if modality not in MODALITIES or not (dot and tap):
            raise UsageError(
                f"'{layer}' is no layer: write the modality and the name of a tap, as video.layer2"
            )
    return tuple(dict.fromkeys(layers))


def first_reads(model: Model) -> dict[str, Read]:
    """The read of each modality whose features are probed."""
    reads: dict[str, Read] = {}
    for read in model.reads:
        reads.setdefault(model.views[read.view].modality, read)
    return reads


def check_taps(layers: Sequence[str], model: Model) -> None:
    """Refuses layers that the encoders of a model have not; nothing is computed."""

    def features() -> dict[str, jax.Array]:
        key = jax.random.key(0)
        seen, _ = model.features(model.init(key), model.example_batch(1), key, train=False)
        return layer_features(
            layers, {kind: seen[read] for kind, read in first_reads(model).items()}
        )

    jax.eval_shape(features)


def layer_features(layers: Sequence[str], features: Mapping[str, Features]) -> dict[str, jax.Array]:
    """[batch, channels] by layer: the mean over all positions, and over the windows of a view of several."""
    found = {}
    for layer in layers:
        modality, _, tap = layer.partition(".")
        if modality not in features:
            raise UsageError(f"layer '{layer}': no objective of this run looks at {modality}")
        taps = features[modality].taps
        if tap not in taps:
            raise unknown(f"layer of the {modality} encoder", tap, taps)
        array = taps[tap]
        wide = array.astype(jnp.promote_types(array.dtype, jnp.float32))
        found[layer] = wide.mean(axis=tuple(range(1, array.ndim - 1)))
    return found
