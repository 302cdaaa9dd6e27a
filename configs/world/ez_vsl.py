"""EZ-VSL on the embedded world of several objects, some of them silent, with the quickstart's small encoders.

A picture is the frame in the middle of the sound, and the video encoder keeps 8 x 8 cells, which its maps are
given in. The temperature is the quickstart's: with the published 0.03 the loss hardly left chance on the first
80 % of the training part. The table has the map of picture and sound (`video`), that of objects, which has
heard nothing of this clip (`objects`), and both together (`fused`).

  avssl pretrain --config configs/world/supervised.py:pictures --workdir runs/world-pictures
  avssl pretrain --config configs/world/ez_vsl.py --workdir runs/world-ez-vsl \
      --config.init_from=runs/world-pictures
  avssl evaluate --workdir runs/world-ez-vsl --protocols localization --object-encoder runs/world-pictures \
      --save-visualizations

The first is in the place of ImageNet, from whose pictures the papers' networks come.

Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = "world:crowd@train"
    config.eval.data = "world:crowd@train"
    config.eval.test_data = "world:crowd@test"
    config.eval.protocols = ("localization", "retrieval")
    config.eval.alpha = 0.4  # as published
    config.views.video.update(frames=1, fps=25.0, align="center")
    # Without, a clip is known by the colours of its background, and the sound is put there.
    config.views.video.update(hue=0.5, saturation=0.5)
    config.encoders.video.strides = (2, 1, 1)
    # Small, as clips of a clip's own class are pushed away, and many, as for long the loss stays near chance.
    config.batch_size = 32
    config.steps = 2400
    config.objectives = dict(ez_vsl=dict(weight=1.0, channels=128, temperature=0.1))
    return variant_of(config, variant)
