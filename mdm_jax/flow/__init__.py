"""Dense optical flow: where it comes from, its files, and where it can be trusted.

`flow_sources` computes or reads flow, `flow_files` knows the file formats, `flow_field`
checks flow against its reverse and samples other maps through it. Annotation and
two-view geometry both build on this.
"""
