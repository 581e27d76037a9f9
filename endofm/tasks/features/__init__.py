"""Clip, frame and patch embeddings of a video, their results and files."""
