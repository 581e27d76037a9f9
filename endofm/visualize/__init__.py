"""Pictures of what was computed (extra ``viz``)."""
