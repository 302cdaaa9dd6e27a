"""`avssl.load`: the encoders of a run folder."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from avssl.config import run_config
from avssl.console import warn
from avssl.embed.encoder import Clip, Encoder
from avssl.errors import UsageError, unknown
from avssl.teachers.teacher import teacher_of_run, views_of
from avssl.train.build_model import build_model


class Encoders(Mapping[str, Encoder]):
    """The encoders that a run trained, by their names in its config.

    `embed_video` and `embed_audio` take the one encoder of that modality; a run that has several of one
    gives each as `encoders[NAME]`, whose `embed` says the same of it. left_out: why others are none of them.
    """

    def __init__(self, where: str, encoders: Mapping[str, Encoder], left_out: Mapping[str, str]):
        self.where = where
        self.left_out = dict(left_out)
        self._encoders = dict(encoders)

    def __getitem__(self, name: str) -> Encoder:
        if name in self.left_out:
            raise UsageError(self.left_out[name])
        if name not in self._encoders:
            raise unknown(f"encoder of {self.where}", name, self._encoders)
        return self._encoders[name]

    def __contains__(self, name: object) -> bool:
        return name in self._encoders

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoders)

    def __len__(self) -> int:
        return len(self._encoders)

    def embed_video(
        self,
        videos: Clip | Sequence[Clip],
        *,
        fps: float | None = None,
        every_seconds: float | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """Of files, or of uint8 frames [time, height, width, 3], `fps` of them a second: `Encoder.embed`."""
        return self._only("video").embed(videos, rate=fps, every_seconds=every_seconds)

    def embed_audio(
        self,
        sounds: Clip | Sequence[Clip],
        *,
        rate: float | None = None,
        every_seconds: float | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """Of files, or of samples [time] or [time, channels], `rate` of them a second: `Encoder.embed`."""
        return self._only("audio").embed(sounds, rate=rate, every_seconds=every_seconds)

    def _only(self, modality: str) -> Encoder:
        names = [name for name, one in self._encoders.items() if one.modality == modality]
        if not names and self.left_out:
            raise UsageError(
                f"{self.where} has none of {modality}; {'; '.join(self.left_out.values())}"
            )
        if len(names) != 1:
            which = f"several of {modality}: {', '.join(names)}" if names else f"none of {modality}"
            raise UsageError(
                f"{self.where} has {which}; take one by name, as in encoders['NAME'].embed(...); it has "
                f"{', '.join(self._encoders)}"
            )
        return self._encoders[names[0]]


def load(run: str | Path, *, batch_size: int = 64) -> Encoders:
    """The trained encoders of a run folder: of its newest sound checkpoint.

        encoders = avssl.load("runs/quickstart")
        encoders.embed_video("street.mp4")                      # float32 [dim]
        encoders.embed_audio(samples, rate=16000)               # an array
        encoders.embed_video(paths, every_seconds=1.0)          # a list of [windows, dim]
        encoders["video"].module, encoders["video"].variables   # for Flax

    `batch_size`: windows that are encoded at a time. An encoder that hears no sound by itself, as that of
    AVSA, is left out with a word.
    """
    config, where = run_config(Path(run)), str(run)
    # Those that objectives read: nothing trained the others.
    model = build_model(config)
    encoders, left_out = {}, {}
    for name in model.encoders:
        try:
            views_of(model, name, where)
        except UsageError as error:
            warn(f"left out: {error}")
            left_out[name] = str(error)
        else:
            teacher = teacher_of_run(where, name)
            encoders[name] = Encoder(teacher, config.precision, batch_size)
    return Encoders(where, encoders, left_out)
