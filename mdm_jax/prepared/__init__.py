"""Prepared data sets: frames cropped, resized and encoded once, in ArrayRecord files.

A prepared folder is a TFDS data set (`tfds.builder_from_directory` opens it) with one
record for each frame and a small index. Building: `viewed_source` (what is read),
`plan` (which frames go into which shard), `shards` (one file), `build` (all of them,
over processes or Beam), `verify`. Training reads it with `reading`, without TFDS or
TensorFlow.
"""
