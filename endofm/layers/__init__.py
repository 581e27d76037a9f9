"""Parts of the video transformer."""
