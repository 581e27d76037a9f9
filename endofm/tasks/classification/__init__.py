"""Video classification: model, head and results."""
