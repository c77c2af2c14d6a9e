"""The data plane: which model answers a request, and what is learned from it."""
