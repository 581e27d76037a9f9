"""What the files of each task hold: original layouts, tensor shapes, and what a model card says. One file per task."""
