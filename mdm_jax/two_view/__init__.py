"""Two-view geometry: depth, egomotion and motion from optical flow, without learning.

Follows Zhao et al., "Towards Better Generalization: Joint Depth-Pose Learning without
PoseNet" (CVPR 2020): dense flow, essential matrix, triangulation, scale alignment.

Notation: pixel p of the *target* frame moves by `flow(p)` to the *source* frame. The
pose (R, t) is source_from_target, `X_source = R X_target + t`. From two views t has no
length: |t| = 1, and depth z is in units of that length. Arrays are NumPy on the host;
pixel centres lie at integers.

`front_end` composes the parts for one directed pair of frames, `drive_geometry` for a
whole video: `flow_error`, `texture` and `trust` select the pixels that count, `essential`
and `refinement` estimate the pose, `heading` its sign, `triangulation` depth, `moving`
the moving objects, `still_regions` what is fixed to the camera, `scale_chain` the
trajectory, and `focal_curve` the focal length.
"""
