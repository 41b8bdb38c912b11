"""Pictures to judge a result by."""
