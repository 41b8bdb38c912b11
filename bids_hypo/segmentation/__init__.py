"""From a volume to structures: anatomy, pose, delineation, clean-up. Networks come in as plain callables."""
