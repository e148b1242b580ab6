"""Named faults: one catalogue, injected honestly and undone exactly (docs/FAULTS.md)."""
