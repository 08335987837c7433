"""Auto-annotation: masks of single frames become tracks (Lee et al. 2019, section 3.4).

Order of reading: `mask_sources` and `flow_sources` say what is in the frames, `flow`
which of it can be trusted, `matching` links the objects of two frames, `linking` those
of a clip, `tracks` numbers them, `clips` does all that for files and keeps the results.
"""
