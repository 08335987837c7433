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
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; background: #f3f5f8;
       max-width: 1240px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin: 0 0 0.6em; }
section { background: #fff; border: 1px solid #dde2ea; border-radius: 8px;
          padding: 1.1em 1.4em; margin: 1.2em 0; }
.content { display: flex; flex-wrap: wrap; gap: 1em 3em; align-items: flex-start; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22em 0 0.22em 1.3em; text-align: right; white-space: nowrap;
         border-bottom: 1px solid #e6e9ef; }
th { color: #55617a; font-weight: 600; border-bottom-color: #b9c2d0; }
.text { text-align: left; } th:first-child, td:first-child { padding-left: 0; }
figure { margin: 0; } img { max-width: 100%; height: auto; display: block; }
.note, figcaption { color: #55617a; } p { margin: 0 0 0.6em; }
.warning { color: #8a3b00; background: #fff4e5; border-left: 4px solid #e58a1f;
           padding: 0.3em 0.8em; }
"""
_ARROWS = {"lower": "↓", "higher": "↑"}


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
    first, *others = report.tables
    sections = [
        Section(first, warnings=report.warnings, table=report.tables[first]),
        *(Section(name, table=report.tables[name]) for name in others),
        *report.sections(),
        Section(
            "Protocol",
            text=[f"Command: {command}"],
            table=[["setting", "value"], *map(list, protocol.settings().items())],
        ),
    ]
    page, title = folder / "report.html", f"Evaluation: {protocol.name}"
    atomic.write_text(page, page_text(title, protocol.source, sections))
    return page


def cell(value: Any) -> str:
    """Returns a value as tables show it: integers as they are, others rounded."""
    if value is None:
        return ""
    if isinstance(value, str | int):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return "–"
    small = number != 0 and abs(number) < 1e-3
    return f"{number:.2e}" if small else f"{number:.4f}"


def _csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def page_text(title: str, note: str, sections: Sequence[Section]) -> str:
    """Returns a page as one HTML text that contains its pictures."""
    body = "\n".join(map(_section, sections))
    title, note = html.escape(title), html.escape(note)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{title}</h1>\n<p class="note">{note}</p>\n{body}\n</body>\n</html>\n'
    )


def _section(section: Section) -> str:
    parts = [
        f"<h2>{html.escape(section.title)}</h2>",
        *(f'<p class="warning">{html.escape(text)}</p>' for text in section.warnings),
        *(f"<p>{html.escape(text)}</p>" for text in section.text),
        '<div class="content">',
        _table(section.table) if section.table else "",
        *(_figure(*item) for item in section.pictures.items()),
        "</div>",
    ]
    return "<section>\n" + "\n".join(filter(None, parts)) + "\n</section>"


def _table(rows: Sequence[Sequence[Any]]) -> str:
    columns = list(zip(*rows[1:], strict=True))
    is_text = [any(isinstance(c, str) and c not in _ARROWS for c in x) for x in columns]

    def line(tag: str, cells: Sequence[Any]) -> str:
        texts = (html.escape(_ARROWS.get(c, cell(c))) for c in cells)
        line = ""
        for text, left in zip(texts, is_text, strict=True):
            line += f'<{tag} class="text">' if left else f"<{tag}>"
            line += f"{text}</{tag}>"
        return f"<tr>{line}</tr>"

    lines = [line("th", rows[0]), *(line("td", row) for row in rows[1:])]
    return '<div class="table"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _figure(caption: str, picture: np.ndarray) -> str:
    png = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1]
    data = base64.b64encode(png.tobytes()).decode("ascii")
    text = html.escape(caption)
    # Plots have 128 pixels per inch, and an inch on a page has 96.
    width = f' width="{3 * picture.shape[1] // 4}"' if picture.shape[1] < 1100 else ""
    return (
        f"<figure><figcaption>{text}</figcaption>"
        f'<img alt="{text}"{width} src="data:image/png;base64,{data}"></figure>'
    )
