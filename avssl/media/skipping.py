"""Which packets need no decoding: nobody asked for their frames, no other frame needs them."""

import bisect
import collections
from collections.abc import Callable, Iterable, Iterator, Sequence

import av


def with_use(
    packets: Iterable[av.Packet],
    seconds: Callable[[int], float],
    wanted: Sequence[float],
    reach: int,
) -> Iterator[tuple[av.Packet, bool]]:
    """Each packet, and whether its frame may be on display at one of the wanted times.

    `wanted` rises; what is shown after the last of them counts as used. A frame is of no use if
    another one, at most `reach` packets away, is shown after it but still by the first wanted time.
    Whether it can then go undecoded, the decoder knows: `skip_frame = "NONREF"`.
    """
    # The times of the packets around the first one that waits, both sent before and after it.
    around: collections.deque[float] = collections.deque()
    waiting: collections.deque[tuple[av.Packet, float | None]] = collections.deque()
    num_sent = 0

    def used(time: float | None) -> bool:
        if time is None:
            return True
        place = bisect.bisect_left(wanted, time)
        return place == len(wanted) or not any(time < t <= wanted[place] for t in around)

    for packet in packets:
        time = None if packet.pts is None else seconds(packet.pts)
        waiting.append((packet, time))
        if time is not None:
            around.append(time)
        if len(waiting) > reach:
            sent, time = waiting.popleft()
            yield sent, used(time)
            num_sent += time is not None
            if num_sent > reach:
                around.popleft()
    for packet, time in waiting:
        yield packet, used(time)
