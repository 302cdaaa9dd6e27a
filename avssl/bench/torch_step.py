"""Steps of AVID in PyTorch on noise, as a yardstick: eager on a CPU, compiled and channels-last on a GPU.

It begins with what the front ends give to the encoders: decoding, colours and spectrograms are no part of it,
as in the released code, where the loader makes them.
"""

import torch  # pyright: ignore[reportMissingImports]

from avssl.bench.avid_sizes import AvidSizes
from avssl.bench.torch_avid import Avid


class TorchStep:
    def __init__(self, sizes: AvidSizes, num_threads: int):
        torch.manual_seed(0)
        torch.set_num_threads(num_threads)
        self.sizes = sizes
        self.on_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.on_gpu else "cpu")
        self.avid = Avid(sizes).to(self.device)
        self.encode = self.avid
        self.video = self.noise(sizes.video)
        self.audio = self.noise(sizes.audio)
        if self.on_gpu:
            # As XLA multiplies float32 there.
            torch.set_float32_matmul_precision("high")
            self.avid.video.to(memory_format=torch.channels_last_3d)
            self.avid.audio.to(memory_format=torch.channels_last)
            self.encode = torch.compile(self.avid)
        self.index = torch.arange(sizes.batch, device=self.device) % sizes.num_records
        parameters = list(self.avid.parameters())
        groups = [
            {
                "params": [one for one in parameters if one.ndim > 1],
                "weight_decay": sizes.weight_decay,
            },
            {"params": [one for one in parameters if one.ndim <= 1]},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=sizes.learning_rate)

    def noise(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Channels come first in the shape, and on a GPU last in memory."""
        made = torch.randn(self.sizes.batch, *shape, device=self.device).movedim(-1, 1)
        return made if self.on_gpu else made.contiguous()

    def negatives(self) -> torch.Tensor:
        """Any rows of the banks but the clip's own."""
        shape = (self.sizes.batch, self.sizes.num_negatives)
        drawn = torch.randint(self.sizes.num_records - 1, shape, device=self.device)
        return drawn + (drawn >= self.index[:, None])

    def __call__(self) -> float:
        """The loss, which is there when the device is done."""
        lower = self.sizes.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lower):
            video, audio = self.encode(self.video, self.audio)
        loss = self.avid.loss(video, audio, self.index, self.negatives())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.avid.remember(video, audio, self.index)
        return loss.item()

    def __str__(self) -> str:
        arithmetic = "bf16 autocast" if self.sizes.precision == "bf16" else "float32"
        if self.on_gpu:
            where = f"channels-last, torch.compile, {torch.cuda.get_device_name()}"
        else:
            where = f"eager, {torch.get_num_threads()} threads"
        return f"PyTorch {torch.__version__}, {arithmetic}, {where}"
