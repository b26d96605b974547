"""What is written down: the statistics log's line. Pure: bytes to values and back, nothing else."""
