"""Round numbers for axes, and numbers as a person reads them."""

import math

# Above it a curve of positive values is drawn on a logarithmic axis.
MUCH = 100.0
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
# A stretch of nothing around it needs some width all the same.
LEAST_SPAN = 1e-12


def round_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, about so many, the outer two around [low, high]."""
    span = high - low
    if span <= LEAST_SPAN * max(abs(low), abs(high), 1.0):
        around = abs(low) or 1.0
        low, high = low - 0.5 * around, high + 0.5 * around
        span = high - low
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min(STEPS, key=lambda each: abs(math.log(each * power / rough)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten, the outer two around [low, high], not too many of them."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    stride = max(1, math.ceil((last - first) / 5))
    last = first + stride * math.ceil((last - first) / stride)
    return [10.0**power for power in range(first, last + 1, stride)]


def shown_number(value: float, digits: int = 3) -> str:
    """4.197 -> 4.2, 12345 -> 12.3k, 0.00001 -> 1e-05; a true minus sign."""
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        text = f"{value:.{digits - 1}e}"
        mantissa, _, exponent = text.partition("e")
        text = (
            f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
        )
    elif size >= 1e6:
        text = f"{value / 1e6:.{digits}g}M"
    elif size >= 1e4:
        text = f"{value / 1e3:.{digits}g}k"
    elif size >= 10 ** (digits - 1):
        text = f"{value:.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "−", 1) if value < 0 else text
