"""The transfer losses of `distill` by name: what they weigh, what they are of, and which rows they compare."""

from collections.abc import Callable

from jax import Array

from avssl.losses.distillation import softened_divergence
from avssl.losses.hints import attention_loss, hint_loss, selectivity_loss, variational_loss
from avssl.losses.kernel_transfer import information_flow, probabilistic_transfer
from avssl.losses.relations import (
    kernel_congruence,
    neighbour_congruence,
    relational_loss,
    similarity_loss,
)

# (weight of the labels' cross-entropy, weight of the transfer loss) as in RepDistiller's scripts. Those have
# no `ifd`, of which this is the last layer's weight, and no `kernel_cc`, whose weight is ours.
PUBLISHED_WEIGHTS = {
    "kd": (0.1, 0.9),
    "hint": (1.0, 100.0),
    "at": (1.0, 1000.0),
    "sp": (1.0, 3000.0),
    "pkt": (1.0, 30000.0),
    "rkd": (1.0, 1.0),
    "cc": (1.0, 0.02),
    "kernel_cc": (1.0, 1.0),
    "vid": (1.0, 1.0),
    "nst": (1.0, 50.0),
    "ifd": (1.0, 1.0),
}
# Those that take maps: each row has a loss of its own, so that no map has to leave its device.
ROW_LOSSES: dict[str, Callable[..., Array]] = {
    "hint": hint_loss,
    "at": attention_loss,
    "vid": variational_loss,
    "nst": selectivity_loss,
}
BATCH_LOSSES: dict[str, Callable[..., Array]] = {
    "kd": softened_divergence,
    "hint": hint_loss,
    "sp": similarity_loss,
    "pkt": probabilistic_transfer,
    "rkd": relational_loss,
    "cc": neighbour_congruence,
    "kernel_cc": kernel_congruence,
    "ifd": information_flow,
}
# What teachers are asked for, the first if nothing is said; of the others embeddings.
KINDS = {
    "kd": ("logits",),
    "hint": ("embedding", "map"),
    **dict.fromkeys(("at", "vid", "nst"), ("map",)),
}
# These compare every row with all others.
RELATIONS = ("sp", "pkt", "rkd", "ifd", "kernel_cc")
