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


def translate(values: Mapping[str, object], method: str) -> dict[str, object]:
    """Returns the values of renamed fields by their present names.

    Args:
        values: settings of an old run, by flat name.
        method: that the run trains.
    """
    return {
        str(new_name(name)): value
        for name, value in values.items()
        if name in _RENAMED
        or (name in _RENAMED_OF_METHOD and name.startswith(f"{method}."))
    }
