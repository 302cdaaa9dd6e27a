"""The table of an ablation for other programs: CSV of every number, LaTeX of the table, and a plot."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from avssl.ablate.measured import Measured, Standing
from avssl.ablate.plan import Ablation
from avssl.ablate.plot import plot
from avssl.ablate.table import DIFFERS, Text, filled_columns, headings, lines
from avssl.evaluate.rows import write_whole

CSV_COLUMNS = (
    "row",
    "seed",
    "protocol",
    "features",
    "metric",
    "value",
    "random_init",
    "chance",
    "n",
)
TEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "±": r"$\pm$", "→": r"$\to$", "–": "--",
    }
)  # fmt: skip


def write_exports(out: Path, title: str, ablation: Ablation, standings: Sequence[Standing]) -> None:
    """`table.csv`, `table.tex` and `plot.svg`, as far as anything is measured."""
    out.mkdir(parents=True, exist_ok=True)
    measured = Measured(standings)
    files = {
        "table.csv": csv_of(standings),
        "table.tex": latex_of(ablation, measured),
        "plot.svg": plot(title, ablation, measured),
    }
    for name, text in files.items():
        write_whole(out / name, text, "give another place with --out")


def csv_of(standings: Sequence[Standing]) -> str:
    """A line for each number of each run: also of those that the table has no column for."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for standing in standings:
        for row in standing.result.rows if standing.result else ():
            fields = (getattr(row, column) for column in CSV_COLUMNS[2:])
            writer.writerow([standing.run.row.name, standing.run.seed, *fields])
    return file.getvalue()


def latex_of(ablation: Ablation, measured: Measured) -> str:
    """A `tabular` with the rules of the package booktabs."""
    columns = filled_columns(ablation, measured)
    layout = "l" + "r" * (len(columns) + 2)
    return "\n".join(tabular(layout, headings(columns), lines(ablation, measured))) + "\n"


def tabular(layout: str, heading: Sequence[str], body: Sequence[Sequence[Text]]) -> Iterator[str]:
    yield f"\\begin{{tabular}}{{{layout}}}"
    yield r"\toprule"
    yield " & ".join(map(escaped, heading)) + r" \\"
    yield r"\midrule"
    for line in body:
        yield " & ".join(map(latex_cell, line)) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def latex_cell(cell: Text) -> str:
    marked = cell.text.endswith(DIFFERS)
    text = escaped(cell.text.removesuffix(f" {DIFFERS}"))
    text = rf"\textbf{{{text}}}" if cell.bold else text
    return f"{text}$^*$" if marked else text


def escaped(text: str) -> str:
    return text.translate(TEX_ESCAPES)
