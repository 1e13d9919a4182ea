"""The commands. Each is thin: it reads its options, calls what does the work, and prints the answer."""
