"""Prepared data sets: frames cut, resized and encoded once, in ArrayRecord files.

A prepared folder is a TFDS data set (`tfds.builder_from_directory` opens it), with one
record for each frame and a small index beside them. To build one: `tracks` (what is
read), `plan` (which frames go into which file), `shards` (one file), `build` (all of
them, over processes or Beam), `verify`. To train from one: `reading`, which needs
neither TFDS nor TensorFlow.
"""
