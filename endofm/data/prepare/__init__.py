"""Preparation of data sets that a user has obtained: clips, lists and a manifest. Nothing here downloads anything."""
