"""`obfstats wrap`: the daemon that runs another transport's program and counts its clients."""
