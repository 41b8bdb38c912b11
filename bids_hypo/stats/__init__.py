"""Statistics between groups of people: volumes in, one row a test out. Knows no files."""
