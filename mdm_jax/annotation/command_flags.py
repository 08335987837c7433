"""The flags of masks and tracks, for the commands that annotate.

_FLAGS = command_flags.define()
flags.adopt_module_key_flags(command_flags)  # so that --help shows them
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from absl import flags

from mdm_jax.annotation import linking
from mdm_jax.annotation.clip_annotation import Request
from mdm_jax.masks import label_images
from mdm_jax.masks.mask_set import MaskSet

# Flags that also describe masks with persistent ids, which are not annotated.
_MASK_FLAGS = ("masks", "mask_background", "mask_coding")


@dataclasses.dataclass(frozen=True)
class AnnotationFlags:
    """The flags by name; their values are available once the command line is parsed."""

    holders: Mapping[str, flags.FlagHolder]

    def __getitem__(self, name: str) -> Any:
        return self.holders[name].value

    def present(self) -> list[str]:
        """Returns the flags of annotation that the command line contains."""
        return [
            f"--{name}"
            for name, holder in self.holders.items()
            if holder.present and name not in _MASK_FLAGS
        ]

    def described(self) -> dict[str, Any]:
        """Returns how tracks are made, as JSON values, apart from the path of masks.

        Raises:
            ValueError: a number is out of range.
        """
        fields = self.request(alone=False).to_json()
        del fields["masks"]["root"]
        return fields

    def request(self, *, alone: bool) -> Request:
        """Returns what to annotate with.

        Args:
            alone: whether there is only one clip, see `MaskSet`.

        Raises:
            ValueError: a number is out of range.
        """
        names = ("min_score", "min_pixels", "min_length", "threshold", "lenient")
        return Request(
            masks=MaskSet(
                root=self["masks"],
                coding=self["mask_coding"],
                background=self["mask_background"],
                alone=alone,
            ),
            flow=self["flow"],
            class_maps=self["class_maps"],
            options=linking.Options(
                classes=tuple(int(number) for number in self["classes"]),
                **{name: self[name] for name in names},
            ),
        )


def define() -> AnnotationFlags:
    """Defines the flags, once for each command."""
    defaults = linking.DEFAULTS
    holders = (
        flags.DEFINE_string(
            "masks",
            None,
            "Masks: folder, file, motion, maskrcnn:WEIGHTS.pth or call:package.function",
        ),
        flags.DEFINE_integer(
            "mask_background",
            0,
            "Value of the pixels of label maps without an object.",
        ),
        flags.DEFINE_enum(
            "mask_coding", "auto", label_images.CODINGS, "Coding of PNG label maps."
        ),
        flags.DEFINE_string("flow", "dis", "Source of optical flow."),
        flags.DEFINE_list("classes", [], "Numbers of the classes to use; empty: all."),
        flags.DEFINE_float(
            "min_score", defaults.min_score, "Masks with a lower score are dropped."
        ),
        flags.DEFINE_integer(
            "min_pixels", defaults.min_pixels, "Masks with fewer pixels are dropped."
        ),
        flags.DEFINE_integer(
            "min_length", defaults.min_length, "Tracks with fewer frames are dropped."
        ),
        flags.DEFINE_float(
            "threshold", defaults.threshold, "Both IoUs of a match exceed it."
        ),
        flags.DEFINE_bool(
            "lenient",
            defaults.lenient,
            "Match parts and mostly occluded masks, too; off: as in the paper.",
        ),
        flags.DEFINE_string(
            "class_maps", "", "Folder of PNG with the class of each pixel."
        ),
        flags.DEFINE_bool("overview", True, "Write overview.webm of each clip."),
    )
    return AnnotationFlags({holder.name: holder for holder in holders})
