"""Inner layers of the encoders as features, beside their embeddings: which layer carries what?"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from avssl.errors import UsageError, unknown
from avssl.models.features import Features

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
