"""What a search found, for others to read: results.csv and results.h5, and exports to files and frames."""
