"""What runs on the nodes: the agent, its slots, and the context that run functions see.

Thousands of nodes import this package from one file system at once, so it needs the standard library alone until the
run function is loaded.
"""
