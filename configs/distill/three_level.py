"""Three levels at the scale of VoxCeleb2: a voice's ResNet-34 learns from a voice and a face.

Zhang, Chen & Qian 2021 (Interspeech); no code is public and the text was not at hand, so sizes and schedule are
those usual for the group and not verified: ResNet-34 on 80 log-mel bands (WeSpeaker's "r-vector"), 2 s of
sound, faces at 112 px, the 5,994 speakers of VoxCeleb2's development set, margin 0.2 that grows over the first
epochs and scale 32, SGD 0.1 with momentum 0.9 and decay 1e-4 over 512 clips of several devices. Departures: the
rate falls along a cosine where theirs is exponential; one face frame a clip; no MUSAN, no rooms. 1,092,009
utterances is from memory. Both teachers come from one run that learns the speakers; any run does whose classes
are these.

  avssl pretrain --config configs/distill/three_level.py:teacher --workdir runs/vox2-teacher
  avssl pretrain --config configs/distill/three_level.py --workdir runs/vox2-three-level
  avssl evaluate --workdir runs/vox2-three-level --protocols identity --data tfds:data/vox2@train \
      --test-data voxceleb:/data/voxceleb1@veri_test2

`configs/distill/three_level.py:face` has a face for a student.

Expected: no numbers of the paper were at hand. Measured: not run at this scale.
"""

from avssl.config import base, variant_of

NUM_SPEAKERS = 5_994
AUDIO_SIZE, FACE_SIZE = 256, 512


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 512
    config.steps = 149_300  # 70 epochs of 1,092,009 utterances
    config.precision = "bf16"
    config.data.source = "tfds:data/vox2@train"
    config.data.workers = 16
    config.data.num_records = 1_092_009
    config.views.audio = dict(modality="audio", seconds=2.0, rate=16000)
    config.views.face = dict(
        modality="video", frames=1, fps=25.0, size=112, crop_area=(0.7, 1.0), crop_aspect=(1.0, 1.0)
    )
    del config.views.video
    config.encoders.audio = dict(
        name="speaker_resnet34", modality="audio", embedding_size=AUDIO_SIZE,
        frontend=dict(name="log_mel", num_mels=80, fft_size=512, window_samples=400),
    )  # fmt: skip
    config.encoders.face = dict(name="resnet34_video", modality="video", frontend=dict(name="rgb"))
    for side, encoder, view, size in (
        ("audio", "audio", "audio", AUDIO_SIZE), ("video", "face", "face", FACE_SIZE),
    ):  # fmt: skip
        config.teachers[side] = dict(
            run="runs/vox2-teacher", encoder=encoder, view=view, targets=("embedding", "logits"),
            precision="bf16", shapes=dict(embedding=(size,), logits=(NUM_SPEAKERS,)),
        )  # fmt: skip
    config.objectives.three_level = dict(
        weight=1.0, student="audio", num_classes=NUM_SPEAKERS, video_view="face", video_encoder="face",
        margin_warmup_steps=42_660,
    )  # fmt: skip
    config.optimizer.name = "sgd"
    config.optimizer.arguments = dict(momentum=0.9)
    config.optimizer.learning_rate = 0.1
    config.optimizer.weight_decay = 1e-4
    config.optimizer.warmup_steps = 2_133
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, teacher=teacher, face=face)


def teacher(config):
    config.teachers = {}
    config.objectives = dict(
        supervised=dict(
            weight=1.0,
            num_classes=NUM_SPEAKERS,
            margin=0.2,
            video_view="face",
            video_encoder="face",
        )
    )


def face(config):
    config.objectives.three_level.student = "video"
