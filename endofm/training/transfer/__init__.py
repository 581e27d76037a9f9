"""Transfer methods by one word: which parts of a model learn, what is put in for it, and adapter-only files."""
