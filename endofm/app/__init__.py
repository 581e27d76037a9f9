"""The app: browse a library, search it, and mark moments, in a browser."""
