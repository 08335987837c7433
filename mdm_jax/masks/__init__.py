"""Instance masks of video frames, read from files, and the label maps made from them."""
