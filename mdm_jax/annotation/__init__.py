"""Auto-annotation: masks of single frames become tracks (Lee et al. 2019, section 3.4).

Order of reading: `mask_sources` finds the objects of each frame, `matching` links those of
two frames through optical flow, `linking` those of a clip, `tracks` numbers them, and
`clips` does all this for files and stores the results.
"""
