"""From the statistics log to what may be published. It meets the bridge only through the log's file."""
