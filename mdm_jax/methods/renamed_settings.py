"""Settings that older versions called otherwise, so that their runs can be used."""

from __future__ import annotations

from collections.abc import Mapping

_RENAMED = {
    "motion_field.intrinsics": "camera.intrinsics",
    "motion_field.num_videos": "camera.num_videos",
    "networks.motion_net": "motion_field.motion_net",
    "networks.ego_compensation": "motion_field.ego_compensation",
    "networks.ego_pose": "instance_motion.ego_pose",
    "networks.object_pose": "instance_motion.object_pose",
}
# Both methods had these; the one trained decides.
_RENAMED_OF_METHOD = {
    f"{method}.{field}": new
    for method in ("motion_field", "instance_motion")
    for field, new in {
        "norm_noise": "networks.norm_noise",
        "norm_noise_ramp_steps": "networks.norm_noise_ramp_steps",
        "log_depth_pin": "train.log_depth_pin",
    }.items()
}


def new_name(field: str) -> str | None:
    """Returns the present name of a renamed field; None for any other."""
    return _RENAMED.get(field) or _RENAMED_OF_METHOD.get(field)


def translated(values: Mapping[str, object]) -> dict[str, object]:
    """Returns the settings of a run, by flat name, with all names as they are now."""
    method = values.get("method")
    result = {name: value for name, value in values.items() if new_name(name) is None}
    for name, value in values.items():
        if name in _RENAMED:
            result[_RENAMED[name]] = value
        elif name in _RENAMED_OF_METHOD and name.startswith(f"{method}."):
            result[_RENAMED_OF_METHOD[name]] = value
    if values.get("dataset.name") not in ("synthetic", "video", "prepared"):
        # All frames were cropped before there was a choice.
        result.setdefault("dataset.fit", "crop")
    return result
