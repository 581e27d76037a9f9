"""Stills as clips: a virtual camera moves over labelled images, and masks and boxes move with the pixels."""
