"""Auto-annotation: masks of single frames become tracks (Lee et al. 2019, section 3.4).

Order of reading: `mask_sources` finds the objects of each frame, `matching` compares the
objects of two frames through optical flow, `linking` links those of a clip,
`object_tracks` joins the links to tracks. `clip_annotation` does this for one clip and
stores its progress in a `clip_folder`; `annotator` runs many clips in parallel.
"""
