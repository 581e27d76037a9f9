"""From a video to masks: windows with blended overlaps, run-length codes, files, painting."""
