"""Numbers from segmentations: volumes and quality flags."""
