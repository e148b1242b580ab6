"""A node's life without a controller: what it keeps of the intent, how it goes back to it, and when."""
