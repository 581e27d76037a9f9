"""The tasks, one folder each: model, network, results, files and checkpoint layout."""
