"""Which official checkpoint each encoder can be made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

from avssl.models.torch_names import (
    CNN14_UNREAD,
    Table,
    cnn14,
    detr,
    resnet2d,
    soundnet,
    speaker_resnet34,
    vgg16,
    vggish,
    video_resnet,
)


class Release(NamedTuple):
    """table: of a module of the encoder. unread: how keys begin that it has no place for.

    classifier: of these, the key of the linear layer that names classes by the encoder's embedding.
    """

    table: Callable[[Any], Table]
    unread: tuple[str, ...] = ()
    classifier: str = ""


RESNET = Release(lambda encoder: resnet2d(encoder.blocks), ("fc.",), "fc")
RELEASES: dict[str, Release] = {
    "cnn14": Release(lambda encoder: cnn14(len(encoder.widths)), CNN14_UNREAD, "fc_audioset"),
    "detr_resnet50_video": Release(
        lambda encoder: detr(
            encoder.blocks,
            encoder_depth=encoder.encoder_depth,
            decoder_depth=encoder.decoder_depth,
        )
    ),
    "mc3_18": Release(lambda encoder: video_resnet(encoder.blocks, factored=False), ("fc.",), "fc"),
    "r2plus1d18_torchvision": Release(
        lambda encoder: video_resnet(encoder.blocks, factored=True), ("fc.",), "fc"
    ),
    "r3d_18": Release(lambda encoder: video_resnet(encoder.blocks, factored=False), ("fc.",), "fc"),
    "resnet18_video": RESNET,
    "resnet34_video": RESNET,
    "resnet50_video": Release(
        lambda encoder: resnet2d(encoder.blocks, bottleneck=True), ("fc.",), "fc"
    ),
    "soundnet5": Release(lambda encoder: soundnet(len(encoder.widths)), ("conv5",)),
    "soundnet8": Release(lambda encoder: soundnet(len(encoder.widths)), ("conv8_",)),
    "speaker_resnet34": Release(lambda encoder: speaker_resnet34(encoder.blocks), ("projection.",)),
    "vgg16_video": Release(
        lambda encoder: vgg16(encoder.layers, num_linear=len(encoder.linear)),
        ("classifier.",),
        "classifier.6",
    ),
    "vggish_audio": Release(lambda encoder: vggish(encoder.layers), ("embeddings.", "pproc.")),
}
