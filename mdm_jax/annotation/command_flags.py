"""The options of masks and tracks, for the command lines that make them.

_TRACKS = command_flags.define()
flags.adopt_module_key_flags(command_flags)  # so that --help shows them
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from absl import flags

from mdm_jax.annotation import clips, linking, mask_sources
from mdm_jax.masks import label_images

_DEFAULTS = linking.Options()
# Needed also by who takes masks as they are.
_OF_FILES = ("masks", "mask_background", "mask_coding")


@dataclasses.dataclass(frozen=True)
class TrackFlags:
    """The options, by name, with values once the command line is parsed."""

    holders: Mapping[str, flags.FlagHolder]

    def __getitem__(self, name: str) -> Any:
        return self.holders[name].value

    def given(self) -> list[str]:
        """Returns those for tracks that stand on the command line."""
        return [
            f"--{name}"
            for name, holder in self.holders.items()
            if holder.present and name not in _OF_FILES
        ]

    def described(self) -> dict[str, Any]:
        """Returns in JSON what tracks follow from, beside frames and masks.

        Raises:
            ValueError: a number is not possible.
        """
        described = {**dataclasses.asdict(self.sources()), "masks": ""}
        return {"sources": described, "options": dataclasses.asdict(self.options())}

    def sources(self) -> clips.Sources:
        """Returns where masks and flow come from."""
        return clips.Sources(
            masks=self["masks"],
            flow=self["flow"],
            reading=mask_sources.Reading(
                background=self["mask_background"],
                coding=self["mask_coding"],
                class_maps=self["class_maps"],
            ),
        )

    def options(self) -> linking.Options:
        """Returns what counts as an object, and as a match.

        Raises:
            ValueError: a number is not possible.
        """
        names = ("min_score", "min_pixels", "min_length", "threshold", "lenient")
        return linking.Options(
            classes=tuple(int(number) for number in self["classes"]),
            **{name: self[name] for name in names},
        )


def define() -> TrackFlags:
    """Defines the options; once for a command, when it is imported."""
    found = (
        flags.DEFINE_string(
            "masks",
            None,
            "Masks: folder, file, maskrcnn:WEIGHTS.pth or call:package.module.function",
        ),
        flags.DEFINE_integer(
            "mask_background",
            0,
            "Value of pixels of label maps that belong to no object.",
        ),
        flags.DEFINE_enum(
            "mask_coding", "auto", label_images.CODINGS, "What values of PNG maps mean."
        ),
        flags.DEFINE_string("flow", "dis", "Source of optical flow."),
        flags.DEFINE_list("classes", [], "Numbers of the classes kept; empty: all."),
        flags.DEFINE_float(
            "min_score", _DEFAULTS.min_score, "Masks of a lower score are dropped."
        ),
        flags.DEFINE_integer(
            "min_pixels", _DEFAULTS.min_pixels, "Masks of fewer pixels are dropped."
        ),
        flags.DEFINE_integer(
            "min_length", _DEFAULTS.min_length, "Tracks of fewer frames are dropped."
        ),
        flags.DEFINE_float(
            "threshold", _DEFAULTS.threshold, "Both IoUs of a match exceed it."
        ),
        flags.DEFINE_bool(
            "lenient",
            _DEFAULTS.lenient,
            "Match parts and hardly seen masks; off: the paper.",
        ),
        flags.DEFINE_string(
            "class_maps", "", "Folder of PNG with the class of each pixel."
        ),
        flags.DEFINE_bool("overview", True, "Write overview.mp4 of each clip."),
    )
    return TrackFlags({holder.name: holder for holder in found})
