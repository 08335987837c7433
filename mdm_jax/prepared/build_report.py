"""The report of a build: what is in the data set, and what was left out and why."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.files import atomic
from mdm_jax.files.errors import DataError
from mdm_jax.input_pipeline import clips
from mdm_jax.prepared import layout, plan, records, shards

# As training has it by default.
_STATIC_THRESHOLD = 0.01
_CLIP_LENGTHS = (2, 3)
_SHOWN = 20  # files named in the text; the JSON has all


def write(made: plan.Plan, notes: Sequence[shards.Notes], index: layout.Index) -> None:
    """Writes `report.json` and `report.txt` into the folder of a build."""
    value = _summary(made, notes, index)
    folder = made.options.folder
    atomic.write_json(folder / layout.REPORT_JSON, value, sort_keys=True, sync=True)
    atomic.write_text(folder / layout.REPORT_TEXT, text(value), sync=True)


def text(value: dict[str, Any]) -> str:
    """Returns the report to be read, from its JSON."""
    height, width = value["size"]
    coding = f"{width} x {height} pixels, {value['image_format']}"
    amount = f"{value['shards']} shards, {value['bytes'] / 1e6:.1f} MB"
    lines = [
        f"{value['name']}, {coding}, from {value['source']}",
        f"  {value['frames']} frames of {value['frames_planned']}, {amount}",
    ]
    for part, found in value["splits"].items():
        lines.append(
            f"  split {part}: {found['frames']} frames, {found['recordings']}"
            " recordings"
        )
        for length, counts in found["clips"].items():
            share = counts["static_share"]
            lines.append(
                f"    clips of {length} frames: {counts['moving']} that move,"
                f" {counts['static']} static"
                + ("" if share is None else f" ({share:.1%})")
            )
    for entry in value["intrinsics"]:
        numbers = entry["fx_fy_cx_cy"]
        known = (
            "unknown, to be learned"
            if numbers is None
            else "fx {:.3f} fy {:.3f} cx {:.3f} cy {:.3f}".format(*numbers)
        )
        lines.append(f"  intrinsics of {entry['recordings']} recordings: {known}")
    for name, count in value["recordings_with"].items():
        lines.append(f"  {name}: known of {count} recordings")
    if value["known_depth"] is not None:
        lines.append(f"  depth: known at {value['known_depth']:.2%} of the pixels")
    problems = value["problems"]
    lines.append(f"  {len(problems)} missing or broken files left out")
    lines += [f"    {path}: {problem}" for path, problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"    and {len(problems) - _SHOWN} more in {layout.REPORT_JSON}")
    return "\n".join(lines) + "\n"


def _summary(
    made: plan.Plan, notes: Sequence[shards.Notes], index: layout.Index
) -> dict[str, Any]:
    options = made.options
    problems: list[DataError | tuple[str, str]] = [*made.problems]
    for note in notes:
        problems += [(path, problem) for path, problem in note.problems]
    matrices = collections.Counter(
        None if one.intrinsics is None else _numbers(one.intrinsics)
        for one in index.stretches
    )
    known = [(n.known_depth, n.shard.num_frames) for n in notes]
    known = [(share, count) for share, count in known if share is not None]
    return {
        "name": options.name,
        "source": plan.asked(options)["source"],
        "size": options.size,
        "image_format": options.image_format,
        "frames": len(index.timestamp),
        "frames_planned": sum(shard.num_frames for shard in made.shards),
        "recordings": len(index.stretches),
        "shards": len(index.shards),
        "bytes": sum(shard.num_bytes for shard in index.shards),
        "splits": {part: _split(index, part) for part, _ in made.parts},
        "intrinsics": [
            {"fx_fy_cx_cy": numbers, "recordings": count}
            for numbers, count in matrices.most_common()
        ],
        "recordings_with": {
            name: sum(name in one.has for one in index.stretches)
            for name in records.OPTIONAL
        },
        "known_depth": _mean(known),
        "problems": [
            [one.path, one.problem] if isinstance(one, DataError) else list(one)
            for one in problems
        ],
    }


def _split(index: layout.Index, part: str) -> dict[str, Any]:
    stretches = [one for one in index.stretches if one.part == part]
    return {
        "frames": sum(one.num_frames for one in stretches),
        "recordings": len(stretches),
        "clips": {
            str(length): _clips(index, stretches, length) for length in _CLIP_LENGTHS
        },
    }


def _clips(
    index: layout.Index, stretches: Sequence[layout.Stretch], length: int
) -> dict[str, Any]:
    moving = [
        clips.moving_clips(
            layout.changes(index, one)[1],
            clip_length=length,
            frame_stride=1,
            static_threshold=_STATIC_THRESHOLD,
        )
        for one in stretches
    ]
    total = sum(map(len, moving))
    kept = int(sum(one.sum() for one in moving))
    return {
        "moving": kept,
        "static": total - kept,
        "static_share": (total - kept) / total if total else None,
    }


def _mean(weighted: list[tuple[float, int]]) -> float | None:
    if not weighted:
        return None
    shares, counts = zip(*weighted, strict=True)
    return float(np.average(shares, weights=counts))


def _numbers(rows: list[list[float]]) -> tuple[float, float, float, float]:
    return rows[0][0], rows[1][1], rows[0][2], rows[1][2]
