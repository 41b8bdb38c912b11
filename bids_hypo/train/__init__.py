"""Training: synthesis of head scans, augmentation of labelled ones, and the fitting loop."""
