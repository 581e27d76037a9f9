"""Probes of frozen encoders on real images that are not part of the repository.

``python -m studies.real ENCODER...`` prints a table and writes JSON. The folder of images is named by the environment
variable ``ENDOFM_REAL``; none of its files is ever committed.
"""
