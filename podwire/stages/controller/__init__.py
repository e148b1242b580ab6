"""The stages that run once, on the controller, and how the controller enters a lab's nodes. Not installed on nodes."""
