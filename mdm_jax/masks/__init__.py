"""Masks of single objects, per frame, from files; and label maps made from them."""
