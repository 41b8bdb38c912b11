"""Where the work runs: this process or several local ones."""
