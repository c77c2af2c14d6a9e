"""What is measured: the catalogue of metrics, and the mergeable cells their figures live in."""
