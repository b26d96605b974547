"""Real programs to test and measure against, each started for one test and ended with it."""
