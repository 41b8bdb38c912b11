"""Images as arrays with affines: pure geometry and intensity, no BIDS names, no networks."""
