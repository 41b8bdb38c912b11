"""The page for people who do not program: takes scans in, calls what the command line calls, shows what it wrote."""
