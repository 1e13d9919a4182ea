"""One read-only snapshot of a workflow, and its views."""
