"""libswresample, with one thread and a packed result.

PyAV's own `AudioResampler` starts FFmpeg's worker threads, and planar frames of eight channels or
more kill the process in `AudioFrame.to_ndarray` (PyAV 18.1): every conversion goes through here.
"""

import math

import av
import av.error
import av.filter
import numpy as np

# Half the length of swresample's filter in samples of the slower side is 16; beyond it nothing is
# heard.
FILTER_REACH = 32


class Converter:
    """Frames of one format in, float32 [n, channels] out, at `rate`."""

    def __init__(self, sample_format: str, layout: str, source_rate: int, rate: int):
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        self._num_channels = av.AudioLayout(layout).nb_channels
        nodes = [
            self._graph.add(
                "abuffer", sample_rate=str(source_rate), sample_fmt=sample_format,
                channel_layout=layout, time_base=f"1/{source_rate}",
            ),
            self._graph.add(
                "aformat", sample_rates=str(rate), sample_fmts="flt", channel_layouts=layout
            ),
            self._graph.add("abuffersink"),
        ]  # fmt: skip
        self._graph.link_nodes(*nodes).configure()

    def push(self, frame: av.AudioFrame | None) -> list[np.ndarray]:
        """What can be said of the samples so far; None at the end for the rest."""
        self._graph.push(frame)
        converted = []
        while True:
            try:
                pulled = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return converted
            assert isinstance(pulled, av.AudioFrame)
            converted.append(pulled.to_ndarray().reshape(-1, self._num_channels))


class Resampler:
    """float32 [k, channels] blocks in, the same at another rate out: output i is at i / rate."""

    def __init__(self, source_rate: int, rate: int, channels: int):
        self._source_rate = source_rate
        self._layout = {1: "mono", 2: "stereo", 4: "4.0", 8: "7.1"}[channels]
        self._converter = None
        if source_rate != rate:
            self._converter = Converter("flt", self._layout, source_rate, rate)

    def push(self, block: np.ndarray | None) -> list[np.ndarray]:
        if self._converter is None:
            return [] if block is None else [block]
        if block is None:
            return self._converter.push(None)
        packed = np.ascontiguousarray(block, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
        frame.sample_rate = self._source_rate
        return self._converter.push(frame)


def source_range(
    first: int, count: int | None, source_rate: int, rate: int
) -> tuple[int, int, int | None, int]:
    """What to feed a `Resampler` for outputs `first` to `first + count`, if output 0 is at time 0.

    Returns (where to begin, from where on the samples matter, where to end, how many outputs to
    skip), the first three as sample indices at the source's rate. Beginning only where both grids
    meet keeps the filter's phase, so that the same output is the same number whatever window it was
    asked for in.
    """
    common = math.gcd(source_rate, rate)
    up, down = rate // common, source_rate // common
    reach = FILTER_REACH * math.ceil(max(1.0, down / up)) if source_rate != rate else 0
    matters = first * down // up - reach
    begin = matters // down * down
    end = None if count is None else -(-(first + count) * down // up) + reach
    return begin, matters, end, first - begin * up // down
