"""Videos with boxes: readers of the usual layouts, and training samples for a detector."""
