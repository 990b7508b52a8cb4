"""Worker processes, in which source, model and target run together, and who watches them."""
