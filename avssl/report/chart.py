"""A line chart as inline SVG: axes, units, a legend, and the values that the page's script shows."""

import dataclasses
import math
from collections.abc import Sequence

from avssl.report.axes import MUCH, decades, round_ticks, shown_number
from avssl.report.markup import Markup, tag
from avssl.report.thinning import Point, thinned

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 30
# Of the numbers along the axes, about; the last of the lower ones reaches a little beyond its tick.
CHARACTER, OVERHANG = 6.0, 6.0
# Digits of the values that are shown under the pointer.
DIGITS = 4


@dataclasses.dataclass(frozen=True)
class Line:
    """`colour` and `dash` are numbers of the page's palettes."""

    label: str
    points: list[Point]
    colour: int
    dash: int = 0


@dataclasses.dataclass(frozen=True)
class Chart:
    """What is drawn. `percent`: the values are fractions. `from_zero`: the axis begins there."""

    title: str
    lines: Sequence[Line]
    unit: str = ""
    percent: bool = False
    from_zero: bool = False
    key: Sequence[
        tuple[str, int, int]
    ] = ()  # (label, colour or -1, dash) of the chart's own legend


@dataclasses.dataclass(frozen=True)
class Axis:
    """From values to pixels, with its ticks."""

    ticks: list[float]
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def draw(chart: Chart, most_points: int) -> Markup | None:
    """A figure; None where no line has a value."""
    scale = 100.0 if chart.percent else 1.0
    lines = [
        dataclasses.replace(
            line,
            points=[
                (step, None if value is None else scale * value)
                for step, value in thinned(line.points, most_points)
            ],
        )
        for line in chart.lines
        if any(value is not None for _, value in line.points)
    ]
    if not lines:
        return None
    across, up = axes(lines, chart)
    unit = "%" if chart.percent else chart.unit
    unit = ", ".join(filter(None, (unit, "logarithmic" if up.logarithmic else "")))
    drawing = tag(
        "svg",
        grid(across, up),
        [curve(line, across, up) for line in lines],
        tag("line", class_="cursor", y1=TOP, y2=HEIGHT - BOTTOM, visibility="hidden"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=spoken(chart.title, lines),
        data_plot=f"{LEFT} {WIDTH - RIGHT} {across.ticks[0]:g} {across.ticks[-1]:g}",
        data_unit="%" if chart.percent else "",
    )  # fmt: skip
    title = tag("b", chart.title), tag("span", unit, class_="unit") if unit else None
    return tag("figure", tag("figcaption", title, legend(chart)), drawing, class_="chart")


def axes(lines: Sequence[Line], chart: Chart) -> tuple[Axis, Axis]:
    steps = [step for line in lines for step, _ in line.points]
    values = [value for line in lines for _, value in line.points if value is not None]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > MUCH and not chart.percent
    if logarithmic:
        ticks = decades(low, high)
    else:
        ticks = round_ticks(min(low, 0.0) if chart.from_zero else low, high)
    first, last = min(steps), max(steps)
    inner = [tick for tick in round_ticks(min(first, 0.0), last) if tick <= last]
    # The axis ends where the run does.
    across = [*inner, last] if inner[-1] < last else inner
    return Axis(across, LEFT, WIDTH - RIGHT), Axis(ticks, HEIGHT - BOTTOM, TOP, logarithmic)


def grid(across: Axis, up: Axis) -> list[Markup]:
    """Horizontal lines at the ticks, and both axes' numbers."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    drawn = []
    for tick in up.ticks:
        y = f"{up(tick):.1f}"
        drawn.append(tag("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid"))
        drawn.append(
            tag("text", shown_number(tick), x=LEFT - 6, y=y, dy="0.34em", text_anchor="end")
        )
    *earlier, last = across.ticks
    end_label = f"step {shown_number(last)}"
    begins = across(last) + OVERHANG - len(end_label) * CHARACTER
    for tick in earlier:
        label = shown_number(tick)
        if across(tick) + (len(label) / 2 + 1) * CHARACTER <= begins:
            drawn += across_tick(across(tick), bottom, label)
    drawn += across_tick(across(last), bottom, end_label, is_end=True)
    drawn.append(tag("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    return drawn


def across_tick(x: float, bottom: float, label: str, *, is_end: bool = False) -> list[Markup]:
    """The label is below the tick, or ends a little behind it."""
    at = x + OVERHANG if is_end else x
    return [
        tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=bottom, y2=bottom + 3, class_="axis"),
        tag("text", label, x=f"{at:.1f}", y=bottom + 16, text_anchor="end" if is_end else "middle"),
    ]


def curve(line: Line, across: Axis, up: Axis) -> Markup:
    """A gap where a value is missing; a dot for a value without neighbours."""
    parts, pen_is_down = [], False
    for step, value in line.points:
        if value is None:
            pen_is_down = False
            continue
        x, y = f"{across(step):.1f}", f"{up(value):.1f}"
        parts.append(f"{'L' if pen_is_down else 'M'}{x} {y}" + ("" if pen_is_down else "h0"))
        pen_is_down = True
    values = " ".join(
        f"{step:g},{value:.{DIGITS}g}" for step, value in line.points if value is not None
    )
    return tag(
        "path", d="".join(parts), class_=f"curve c{line.colour} d{line.dash}",
        data_label=line.label, data_values=values,
    )  # fmt: skip


def legend(chart: Chart) -> Markup | None:
    if not chart.key:
        return None
    return tag("span", [key_entry(*entry) for entry in chart.key], class_="legend")


def key_entry(label: str, colour: int, dash: int) -> Markup:
    """A short piece of the line, then its name; a colour of -1 is the text's."""
    kind = f"c{colour}" if colour >= 0 else "plain"
    stroke = tag("path", d="M1 5h20", class_=f"curve {kind} d{dash}")
    piece = tag("svg", stroke, viewBox="0 0 22 10", width=22, height=10, aria_hidden="true")
    return tag("span", piece, label)


def spoken(title: str, lines: Sequence[Line]) -> str:
    """The chart in words, for those who do not see it."""
    told = []
    for line in lines:
        known = [(step, value) for step, value in line.points if value is not None]
        (first, start), (last, end) = known[0], known[-1]
        told.append(
            f"{line.label} from {shown_number(start)} at step {first:g} to {shown_number(end)} "
            f"at step {last:g}"
        )
    return f"{title}: {'; '.join(told)}"
