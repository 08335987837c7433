"""The report of a build: the content of the data set, and the broken files."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.files import atomic
from mdm_jax.input_pipeline import clips
from mdm_jax.prepared import layout, plan, records, shards

_STATIC_THRESHOLD = 0.01  # the default of training
_CLIP_LENGTHS = (2, 3)
_SHOWN = 20  # number of broken files in the text; the JSON has all


def write(
    planned: plan.Plan, notes: Sequence[shards.Notes], index: layout.Index
) -> None:
    """Writes `report.json` and `report.txt` into the folder of a build."""
    value = _summary(planned, notes, index)
    folder = planned.options.folder
    atomic.write_json(folder / layout.REPORT_JSON, value, sort_keys=True, sync=True)
    atomic.write_text(folder / layout.REPORT_TEXT, text(value), sync=True)


def text(value: dict[str, Any]) -> str:
    """Returns the report as text."""
    height, width = value["size"]
    coding = f"{width} x {height} pixels, {value['image_format']}"
    amount = f"{value['shards']} shards, {value['bytes'] / 1e6:.1f} MB"
    lines = [
        f"{value['name']}, {coding}, from {value['source']}",
        f"  {value['frames']} frames of {value['frames_planned']}, {amount}",
    ]
    for part, split in value["splits"].items():
        lines.append(
            f"  split {part}: {split['frames']} frames, {split['recordings']}"
            " recordings"
        )
        for length, counts in split["clips"].items():
            share = counts["static_share"]
            lines.append(
                f"    clips of {length} frames: {counts['moving']} moving,"
                f" {counts['static']} static"
                + ("" if share is None else f" ({share:.1%})")
            )
    for entry in value["intrinsics"]:
        numbers = entry["fx_fy_cx_cy"]
        known = "unknown, to be learned"
        if numbers is not None:
            known = "fx {:.3f} fy {:.3f} cx {:.3f} cy {:.3f}".format(*numbers)
        lines.append(f"  intrinsics of {entry['recordings']} recordings: {known}")
    for name, count in value["recordings_with"].items():
        lines.append(f"  {name}: known for {count} recordings")
    if value["known_depth"] is not None:
        lines.append(f"  depth: known for {value['known_depth']:.2%} of the pixels")
    problems = value["problems"]
    lines.append(f"  {len(problems)} missing or broken files left out")
    lines += [f"    {path}: {problem}" for path, problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"    and {len(problems) - _SHOWN} more in {layout.REPORT_JSON}")
    return "\n".join(lines) + "\n"


def _summary(
    planned: plan.Plan, notes: Sequence[shards.Notes], index: layout.Index
) -> dict[str, Any]:
    options = planned.options
    problems = [[error.path, error.problem] for error in planned.problems]
    problems += [list(problem) for note in notes for problem in note.problems]
    matrices = collections.Counter(
        None if entry.intrinsics is None else _numbers(entry.intrinsics)
        for entry in index.entries
    )
    known = {
        note.shard: note.known_depth for note in notes if note.known_depth is not None
    }
    return {
        "name": options.name,
        "source": plan.options_json(options)["source"],
        "size": options.size,
        "image_format": options.image_format,
        "frames": len(index.timestamp),
        "frames_planned": planned.num_frames,
        "recordings": len(index.entries),
        "shards": len(index.shards),
        "bytes": sum(shard.num_bytes for shard in index.shards),
        "splits": {part: _split(index, part) for part in planned.parts},
        "intrinsics": [
            {"fx_fy_cx_cy": numbers, "recordings": count}
            for numbers, count in matrices.most_common()
        ],
        "recordings_with": {
            name: sum(name in entry.has for entry in index.entries)
            for name in records.OPTIONAL
        },
        "known_depth": float(
            np.average(
                list(known.values()), weights=[shard.num_frames for shard in known]
            )
        )
        if known
        else None,
        "problems": problems,
    }


def _split(index: layout.Index, part: str) -> dict[str, Any]:
    entries = index.of_part(part)
    return {
        "frames": sum(entry.num_frames for entry in entries),
        "recordings": len(entries),
        "clips": {
            str(length): _clips(index, entries, length) for length in _CLIP_LENGTHS
        },
    }


def _clips(
    index: layout.Index, entries: Sequence[layout.Entry], length: int
) -> dict[str, Any]:
    moving = [
        clips.moving_clips(
            layout.changes(index, entry)[1],
            clip_length=length,
            frame_stride=1,
            static_threshold=_STATIC_THRESHOLD,
        )
        for entry in entries
    ]
    total = sum(map(len, moving))
    count = int(sum(clip.sum() for clip in moving))
    return {
        "moving": count,
        "static": total - count,
        "static_share": (total - count) / total if total else None,
    }


def _numbers(rows: list[list[float]]) -> tuple[float, float, float, float]:
    return rows[0][0], rows[1][1], rows[0][2], rows[1][2]
