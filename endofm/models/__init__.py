"""The encoder and the models that users load."""
