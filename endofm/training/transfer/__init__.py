"""Transfer methods by name: what each trains and inserts into a model, and adapter-only files."""
