"""Searches of scripts that know nothing of hpcsearch: ranges on the command line, values put in from outside.

A thin front door: it makes a problem and a run function of them, for the same workflow, driver and database.
"""
