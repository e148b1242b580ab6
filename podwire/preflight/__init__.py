"""Checks prerequisites before anything is changed, and reports every problem together."""
