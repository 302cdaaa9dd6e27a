"""Spatial alignment (AVSA) on the embedded world of 360-degree scenes, with the quickstart's small encoders.

Four viewpoints a clip. Two parts of the paper's recipe are left out, which keep so few steps from learning
where a sound comes from: the first stage, whose contrast of clips says nothing of directions, and the
transformers (held-out training clips, mode `hard`, 320 steps: 35 % of the viewpoints find their sound with
them, at a quarter of the rate, and 43 % without). Colours drawn anew for each viewpoint keep the networks from
knowing a clip by its background: `easy_hard`, 400 steps, 32 % where it was 28 %.

  avssl pretrain --config configs/world/avsa.py --workdir runs/world-avsa

Expected: more than the 25 % of chance. Of 100 viewpoints only 27 show the middle of something that sounds; the
others cannot be told by sight.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.steps = 480
    config.batch_size = 32
    config.data.source = "world:sphere@train"
    config.eval.data = "world:sphere@train"
    config.eval.test_data = "world:sphere@test"
    config.views.video = dict(
        modality="video", frames=2, fps=4 / 3, size=64, projection="sphere", flip=False,
        brightness=0.2, contrast=0.2, saturation=0.5, hue=0.5,
    )  # fmt: skip
    config.views.viewpoints = dict(**config.views.video.to_dict(), windows=4)
    # Each sound is turned to four viewpoints: spectra of half as many samples take half the time.
    config.views.audio.update(seconds=1.5, rate=16000, channels=4)
    config.encoders.audio.frontend.fft_size = 512
    config.objectives = dict(avsa=dict(weight=1.0, transformers=False, projection_width=64))
    return variant_of(config, variant)
