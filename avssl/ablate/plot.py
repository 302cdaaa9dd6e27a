"""The columns of an ablation as bars, one panel each, with a whisker for the spread over seeds."""

import statistics
from collections.abc import Iterator, Sequence
from html import escape

from avssl.ablate.measured import Measured, attempted_rows
from avssl.ablate.plan import Ablation, Column
from avssl.ablate.table import filled_columns
from avssl.evaluate.rows import is_fraction, shown

ROW_HEIGHT, BAR_HEIGHT = 22, 12
NAME_WIDTH, BAR_WIDTH, VALUE_WIDTH = 220, 320, 110
HEADER_HEIGHT, GAP = 34, 18
LETTER_WIDTH = 6.6  # of the sans-serif at 12 px, about
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.h{font-weight:600}.n{text-anchor:end}"
    ".b{fill:#4c78a8}.r{stroke:#777;stroke-dasharray:3 2}.w{stroke:#24292f;stroke-width:1.2}"
    ".g{fill:#f3f4f6}"
)


def plot(title: str, ablation: Ablation, measured: Measured) -> str:
    """An SVG: a panel for each column, a bar for each row; the dashed line is random initialisation."""
    attempted = attempted_rows(measured.standings)
    rows = [row.name for row in ablation.rows if row.name in attempted]
    panels, top = [], HEADER_HEIGHT
    for column in filled_columns(ablation, measured):
        panels += panel(column, rows, measured, top)
        top += HEADER_HEIGHT + ROW_HEIGHT * len(rows) + GAP
    width = NAME_WIDTH + BAR_WIDTH + VALUE_WIDTH
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
            f'viewBox="0 0 {width} {top}">',
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{top}" fill="#fff"/>',
            f'<text class="h" x="8" y="22">{escape(title)}</text>',
            *panels,
            "</svg>\n",
        ]
    )


def panel(column: Column, rows: Sequence[str], measured: Measured, top: int) -> Iterator[str]:
    numbers = measured.column(column.key)
    largest = max(max(row.value, row.random_init or 0.0) for row in numbers)
    # Fractions on the whole of their scale, so that panels compare; other numbers as far as they reach.
    scale = BAR_WIDTH / (1.0 if is_fraction(column.metric) else max(largest, 1e-12))
    yield f'<text class="h" x="8" y="{top + 20}">{escape(column.heading)}</text>'
    for place, name in enumerate(rows):
        y = top + HEADER_HEIGHT + ROW_HEIGHT * place
        middle = y + ROW_HEIGHT / 2
        yield (
            f'<text class="n" x="{NAME_WIDTH - 10}" y="{middle + 4}">'
            f"{escape(fitting(name, NAME_WIDTH - 18))}</text>"
        )
        yield (
            f'<rect class="g" x="{NAME_WIDTH}" y="{middle - BAR_HEIGHT / 2}" width="{BAR_WIDTH}" '
            f'height="{BAR_HEIGHT}"/>'
        )
        found = list(measured.of(name, column.key).values())
        if not found:
            yield f'<text x="{NAME_WIDTH + 6}" y="{middle + 4}">–</text>'
            continue
        mean = statistics.mean(row.value for row in found)
        random = [row.random_init for row in found if row.random_init is not None]
        spread = statistics.stdev(row.value for row in found) if len(found) > 1 else 0.0
        length = scale * max(mean, 0.0)
        yield (
            f'<rect class="b" x="{NAME_WIDTH}" y="{middle - BAR_HEIGHT / 2}" width="{length:.1f}" '
            f'height="{BAR_HEIGHT}"/>'
        )
        if random:
            left = NAME_WIDTH + scale * statistics.mean(random)
            yield f'<path class="r" d="M{left:.1f} {y + 2}v{ROW_HEIGHT - 4}"/>'
        if spread:
            low, high = (NAME_WIDTH + scale * max(mean + side * spread, 0.0) for side in (-1, 1))
            yield f'<path class="w" d="M{low:.1f} {middle}H{high:.1f}"/>'
        yield (
            f'<text x="{NAME_WIDTH + BAR_WIDTH + 8}" y="{middle + 4}">'
            f"{escape(shown(column.metric, mean, spread or None))}</text>"
        )


def fitting(name: str, width: float) -> str:
    """The name, its middle left out where it is too long."""
    letters = int(width / LETTER_WIDTH)
    if len(name) <= letters:
        return name
    return f"{name[: letters // 2 - 1]}…{name[len(name) - letters // 2 :]}"
