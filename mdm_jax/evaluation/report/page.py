"""An evaluation on disk: numbers for programs, a table of rows, and a page to read.

`metrics.json` holds the metrics by key, `protocol.json` how they were measured, and
`per_image.csv` or `per_sequence.csv` the numbers of each image or sequence.
`report.html` shows all of it with pictures, in one file that opens anywhere.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import html
import io
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from mdm_jax.evaluation import protocols
from mdm_jax.files import atomic

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
        table: rows of cells, the first with the column headings; may be empty.
        pictures: RGB images by caption.
    """

    title: str
    text: Sequence[str] = ()
    warnings: Sequence[str] = ()
    table: Sequence[Sequence[Any]] = ()
    pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation found.

    Attributes:
        protocol: how it was measured.
        metrics: by key.
        rows: the numbers of each image or sequence, by name.
        tables: by title, the main one first.
        warnings: what makes the numbers doubtful.
        sections: returns the further sections of the page, with pictures.
    """

    protocol: protocols.Protocol
    metrics: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]]
    tables: Mapping[str, Sequence[Sequence[Any]]]
    warnings: Sequence[str] = ()
    sections: Callable[[], Sequence[Section]] = tuple


def write(
    folder: str | os.PathLike[str], report: Report, *, command: str
) -> pathlib.Path:
    """Writes all files of an evaluation and returns the path of the page.

    Args:
        folder: created if missing; files of an earlier evaluation are replaced.
        report: what to write.
        command: that was called.
    """
    folder = pathlib.Path(folder)
    protocol = report.protocol
    rows = "image" if isinstance(protocol, protocols.DepthProtocol) else "sequence"
    settings = dataclasses.asdict(protocol) | {"warnings": list(report.warnings)}
    atomic.write_json(folder / "metrics.json", report.metrics)
    atomic.write_json(folder / "protocol.json", settings)
    atomic.write_text(folder / f"per_{rows}.csv", _csv_text(report.rows))
    (title, table), *others = report.tables.items()
    sections = [
        Section(title, warnings=report.warnings, table=table),
        *(Section(title, table=table) for title, table in others),
        *report.sections(),
        Section(
            "Protocol",
            text=[protocol.source, f"Command: {command}"],
            table=[["setting", "value"], *map(list, protocol.settings().items())],
        ),
    ]
    page = folder / "report.html"
    atomic.write_text(page, _page_text(f"Evaluation: {protocol.name}", sections))
    return page


def cell(value: Any) -> str:
    """Returns a value as tables show it; numbers have four decimal places."""
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


def _csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _page_text(title: str, sections: Sequence[Section]) -> str:
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
