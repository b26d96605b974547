"""The two daemons, `obfsproxy` and `obfstats wrap`: command lines, signals, ticks, statistics, publishing."""
