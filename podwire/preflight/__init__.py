"""What would be in the way of a cluster: all of it at once, before anything is touched."""
