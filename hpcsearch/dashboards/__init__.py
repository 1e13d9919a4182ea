"""Pages of other projects over a workflow, served to one user alone: on a socket in a folder that is only theirs."""
