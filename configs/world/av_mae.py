"""Masked autoencoding (AV-MAE) on the embedded world, with two small transformers.

avssl pretrain --config configs/world/av_mae.py --workdir runs/world-av-mae
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.encoders.video = dict(
        name="vit_video", modality="video", size="tiny", patch=(2, 8, 8), patch_drop=0.75,
        frontend=dict(name="rgb"),
    )  # fmt: skip
    config.encoders.audio = dict(
        name="vit_audio", modality="audio", size="tiny", patch=(8, 8), patch_drop=0.75,
        frontend=config.encoders.audio.frontend.to_dict(),
    )  # fmt: skip
    config.objectives = dict(
        av_mae=dict(
            weight=1.0, fused_depth=1, decoder_width=64, decoder_depth=2, standardise_patches=True
        ),
    )  # fmt: skip
    config.eval.protocols = ("knn", "linear")
    return variant_of(config, variant)
