"""AVID in plain PyTorch, to measure against: R(2+1)D-18, Conv2D-10, heads, memory banks and NCE.

Of Morgado et al. 2021 (arXiv 2004.12943), as `models/r2plus1d.py`, `models/conv2d10.py` and `losses/avid.py`
have it; modules are named as in the released checkpoints, so that `models/torch_names.py` reads them.
"""

import math

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from avssl.bench.avid_sizes import AvidSizes


def conv3d(channels: int, features: int, kernel: tuple[int, ...], strides=(1, 1, 1)) -> nn.Module:
    padding = tuple(size // 2 for size in kernel)
    return nn.Conv3d(channels, features, kernel, strides, padding, bias=False)


def conv2d(channels: int, features: int, kernel: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(channels, features, kernel, stride, kernel // 2, bias=False)


class VideoBlock(nn.Module):
    def __init__(self, channels: int, features: int, stride: int):
        super().__init__()
        self.spt_conv1 = conv3d(channels, features, (1, 3, 3), (1, stride, stride))
        self.spt_bn1 = nn.BatchNorm3d(features)
        self.tmp_conv1 = conv3d(features, features, (3, 1, 1), (stride, 1, 1))
        self.tmp_bn1 = nn.BatchNorm3d(features)
        self.spt_conv2 = conv3d(features, features, (1, 3, 3))
        self.spt_bn2 = nn.BatchNorm3d(features)
        self.tmp_conv2 = conv3d(features, features, (3, 1, 1))
        self.out_bn = nn.BatchNorm3d(features)
        self.res_conv = nn.Identity()
        if channels != features or stride != 1:
            self.res_conv = conv3d(channels, features, (1, 1, 1), (stride,) * 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.spt_bn1(self.spt_conv1(x)))
        y = self.relu(self.tmp_bn1(self.tmp_conv1(y)))
        y = self.relu(self.spt_bn2(self.spt_conv2(y)))
        return self.relu(self.out_bn(self.tmp_conv2(y) + self.res_conv(x)))


class VideoEncoder(nn.Module):
    """[batch, 3, time, height, width] to [batch, 512]."""

    def __init__(self, blocks: tuple[int, ...], widths: tuple[int, ...]):
        super().__init__()
        stem = conv3d(3, widths[0], (3, 7, 7), (1, 2, 2))
        self.conv1 = nn.Sequential(stem, nn.BatchNorm3d(widths[0]), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.stages = []
        channels = widths[0]
        for stage, (num_blocks, width) in enumerate(zip(blocks, widths, strict=True)):
            made = []
            for block in range(num_blocks):
                made.append(VideoBlock(channels, width, 2 if stage > 0 and block == 0 else 1))
                channels = width
            self.stages.append(f"conv{stage + 2}x")
            self.add_module(self.stages[-1], nn.Sequential(*made))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.conv1(x))
        for name in self.stages:
            x = getattr(self, name)(x)
        return x.amax(dim=(2, 3, 4))


class AudioBlock(nn.Module):
    def __init__(self, channels: int, features: int, stride: int):
        super().__init__()
        self.conv1 = conv2d(channels, features, 3, stride)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2 = conv2d(features, features, 3)
        self.bn2 = nn.BatchNorm2d(features)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


class AudioEncoder(nn.Module):
    """[batch, channels, time, frequency] to [batch, 512]."""

    def __init__(self, channels: int, widths: tuple[int, ...], strides: tuple[int, ...]):
        super().__init__()
        stem = conv2d(channels, widths[0], 7, 2)
        self.conv1 = nn.Sequential(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.num_blocks = len(widths)
        for block, (before, width, stride) in enumerate(
            zip((widths[0], *widths), widths, strides, strict=False), start=1
        ):
            self.add_module(f"block{block}", AudioBlock(before, width, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for block in range(1, self.num_blocks + 1):
            x = getattr(self, f"block{block}")(x)
        return x.amax(dim=(2, 3))


class Head(nn.Module):
    def __init__(self, channels: int, widths: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(channels, width), nn.ReLU(inplace=True)]
            channels = width
        self.projection = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.projection(x)


class Avid(nn.Module):
    """The loss of a batch, and the banks that it is taken against."""

    def __init__(self, sizes: AvidSizes):
        super().__init__()
        self.sizes = sizes
        self.video = VideoEncoder(sizes.video_blocks, sizes.video_widths)
        self.audio = AudioEncoder(sizes.audio[-1], sizes.audio_widths, sizes.audio_strides)
        self.video_head = Head(sizes.video_widths[-1], sizes.projection)
        self.audio_head = Head(sizes.audio_widths[-1], sizes.projection)
        shape = (sizes.num_records, sizes.projection[-1])
        self.register_buffer("video_bank", unit(torch.randn(shape)))
        self.register_buffer("audio_bank", unit(torch.randn(shape)))
        self.register_buffer("partition", torch.zeros(()))

    def forward(self, video: torch.Tensor, audio: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.video_head(self.video(video)), self.audio_head(self.audio(audio))

    def loss(self, video, audio, index: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """Cross-AVID: either embedding against the other's bank."""
        places = torch.cat([index[:, None], negatives], dim=1)
        terms = [
            self.nce(self.logits(query, bank[places]))
            for query, bank in ((video, self.audio_bank), (audio, self.video_bank))
        ]
        return sum(terms) / len(terms)

    def logits(self, query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bd,bkd->bk", unit(query.float()), rows) / self.sizes.temperature

    def nce(self, logits: torch.Tensor) -> torch.Tensor:
        """The first column is the positive; Z is that of the first batch."""
        positive, negatives = logits[:, 0], logits[:, 1:]
        with torch.no_grad():
            estimate = negatives.exp().mean()
            self.partition.copy_(torch.where(self.partition > 0, self.partition, estimate))
        noise = self.partition.log() + math.log(negatives.shape[1])
        found = functional.softplus(noise - positive)
        return (found + functional.softplus(negatives - noise).sum(dim=1)).mean()

    @torch.no_grad()
    def remember(self, video: torch.Tensor, audio: torch.Tensor, index: torch.Tensor) -> None:
        kept = self.sizes.bank_momentum
        for bank, embedding in ((self.video_bank, video), (self.audio_bank, audio)):
            bank[index] = unit(kept * bank[index] + (1 - kept) * unit(embedding.float()))


def unit(rows: torch.Tensor) -> torch.Tensor:
    return functional.normalize(rows, dim=-1)
