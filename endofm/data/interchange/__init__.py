"""Labels of other tools: read as data to train and test on, and written from predictions."""
