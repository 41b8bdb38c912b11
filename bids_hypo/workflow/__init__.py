"""The story of each level, joining the parts."""
