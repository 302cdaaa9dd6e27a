"""Numbers of a front end that would make infinities of sound or picture, or nothing at all."""

from typing import Any

from avssl.errors import UsageError, check_number


def check_above_zero(frontend: Any, *keys: str) -> None:
    """Of a key with several values, each."""
    for key in keys:
        value = getattr(frontend, key)
        for one in value if isinstance(value, tuple) else (value,):
            check_number(f"{key} of a frontend", one, 0, above=True)


def check_bands(frontend: Any, key: str) -> None:
    """At most one band for each bin of the transform; some may be empty."""
    num_bands, num_bins = getattr(frontend, key), frontend.fft_size // 2 + 1
    if type(num_bands) is not int or not 1 <= num_bands <= num_bins:
        raise UsageError(
            f"{key} of a frontend must be a whole number from 1 to {num_bins}, the bins of an fft_size of "
            f"{frontend.fft_size}, not {num_bands!r}"
        )


def check_colours(frontend: Any, *keys: str) -> None:
    for key in keys:
        values = getattr(frontend, key)
        if not isinstance(values, tuple) or len(values) != 3:
            raise UsageError(
                f"{key} of a frontend must be three numbers, of red, green and blue, not {values!r}"
            )
