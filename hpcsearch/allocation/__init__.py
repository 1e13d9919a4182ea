"""What runs inside an allocation: the driver, its table of nodes, and what it starts and kills evaluations with.

The driver is one process with one loop. What could hold it up lives in processes of its own, and all of them speak
JSON lines with it: the agents (on the nodes), the recorder (which alone writes the database) and the search.
"""
