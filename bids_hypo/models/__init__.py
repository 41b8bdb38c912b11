"""What a trained model is, where it is found, and how it is called."""
