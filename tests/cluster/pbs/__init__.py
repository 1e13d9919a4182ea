"""A stand-in for PBS: clients that answer as a recorded OpenPBS 23.06 does, and a machine on which jobs really run.

Standard library only. The server is the file state.py keeps; nothing runs but the cluster itself, where there is one.
"""
