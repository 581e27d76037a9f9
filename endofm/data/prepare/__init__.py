"""Turning data sets that a user has obtained into clips, lists and a manifest. Nothing here downloads anything."""
