"""A library of procedures: embeddings of many recordings in one searchable folder."""
