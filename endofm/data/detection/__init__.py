"""Videos whose frames carry boxes: reading the layouts in use, and samples to train a detector on."""
