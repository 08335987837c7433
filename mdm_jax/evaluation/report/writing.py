"""An evaluation on disk: numbers for programs, tables for spreadsheets, a page to read.

`metrics.json` holds the flat metrics, null where there is none; `protocol.json` what
was asked for; `per_image.csv` or `per_sequence.csv` a line each; `report.html` shows
all of it in one file, pictures included, that can be sent and opened anywhere.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import html
import io
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from mdm_jax.evaluation import protocols
from mdm_jax.files import atomic

Row = Mapping[str, Any]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #202020; background: #fff;
       max-width: 1200px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; margin: 0.8em 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2em 0.9em 0.2em 0; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; }
figcaption, .note { color: #606060; } .warning { color: #a03000; }
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """A part of the page.

    Attributes:
        title: heading.
        text: paragraphs.
        warnings: paragraphs that stand out.
        table: rows of cells, the first of them the names of the columns; may be empty.
        pictures: RGB images by caption.
    """

    title: str
    text: Sequence[str] = ()
    warnings: Sequence[str] = ()
    table: Sequence[Sequence[Any]] = ()
    pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]] = dataclasses.field(
        default_factory=dict
    )


def write(
    folder: str | os.PathLike[str],
    *,
    title: str,
    metrics: Mapping[str, float],
    protocol: Mapping[str, Any],
    rows: Sequence[Row],
    rows_name: str,
    sections: Sequence[Section],
) -> pathlib.Path:
    """Writes all files of an evaluation and returns the path of the page.

    Args:
        folder: is made where it is missing; files of an earlier evaluation are
            replaced.
        title: of the page.
        metrics: flat.
        protocol: settings by name.
        rows: for each image or sequence, numbers by name.
        rows_name: of the CSV file, without ending.
        sections: of the page.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / "metrics.json", _json(metrics))
    atomic.write_text(folder / "protocol.json", _json(protocol))
    atomic.write_text(folder / f"{rows_name}.csv", csv_text(rows))
    page = folder / "report.html"
    atomic.write_text(page, page_text(title, sections))
    return page


def write_evaluation(
    folder: str | os.PathLike[str],
    *,
    protocol: protocols.Protocol,
    metrics: Mapping[str, float],
    warnings: Sequence[str],
    table: Sequence[Sequence[Any]],
    rows: Sequence[Row],
    sections: Sequence[Section],
    command: str,
) -> pathlib.Path:
    """Writes what was measured by a protocol; returns the path of the page.

    Args:
        folder: see `write`.
        protocol: that was followed.
        metrics: flat.
        warnings: what to be careful about.
        table: the main one.
        rows: see `write`.
        sections: between the main table and what says how it was measured.
        command: that was given.
    """
    of_depth = isinstance(protocol, protocols.DepthProtocol)
    first = Section("Result", warnings=warnings, table=table)
    settings = [["setting", "value"], *map(list, protocol.settings().items())]
    text = [protocol.source, f"Command: {command}"]
    return write(
        folder,
        title=f"Evaluation: {protocol.name}",
        metrics=metrics,
        protocol=dataclasses.asdict(protocol) | {"warnings": list(warnings)},
        rows=rows,
        rows_name="per_image" if of_depth else "per_sequence",
        sections=[first, *sections, Section("Protocol", text=text, table=settings)],
    )


def csv_text(rows: Sequence[Row]) -> str:
    """Returns comma-separated lines under the names; what a row has not is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def page_text(title: str, sections: Sequence[Section]) -> str:
    """Returns a page that needs no other file."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [f"<p>{html.escape(text)}</p>" for text in section.text]
        body += [
            f'<p class="warning">{html.escape(text)}</p>' for text in section.warnings
        ]
        if section.table:
            body.append(_table(section.table))
        body += [_figure(*item) for item in section.pictures.items()]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        "<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def cell(value: Any) -> str:
    """Returns a value as a table shows it: numbers with four digits behind the point."""
    if value is None:
        return ""
    if isinstance(value, str | int):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return "–"
    if number.is_integer() and abs(number) < 1e9:
        return str(int(number))
    return f"{number:.4f}" if abs(number) >= 1e-3 else f"{number:.2e}"


def _json(values: Mapping[str, Any]) -> str:
    """Returns a JSON object; numbers that are not finite, which JSON has not, are null."""

    def finite(value: Any) -> Any:
        known = not isinstance(value, float) or math.isfinite(value)
        return value if known else None

    named = {name: finite(value) for name, value in values.items()}
    return json.dumps(named, indent=2, allow_nan=False) + "\n"


def _table(rows: Sequence[Sequence[Any]]) -> str:
    def line(tag: str, cells: Sequence[Any]) -> str:
        inside = "".join(f"<{tag}>{html.escape(cell(c))}</{tag}>" for c in cells)
        return f"<tr>{inside}</tr>"

    lines = [line("th", rows[0]), *(line("td", row) for row in rows[1:])]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _figure(caption: str, picture: np.ndarray) -> str:
    png = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1]
    data = base64.b64encode(png.tobytes()).decode("ascii")
    text = html.escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
