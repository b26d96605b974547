"""The sockets of `obfstats wrap`: tor's extended ORPort for another transport's program, and a relay that splices."""
