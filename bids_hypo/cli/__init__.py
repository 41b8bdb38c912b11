"""Command lines: argument parsing only. Heavy imports happen inside the commands."""
