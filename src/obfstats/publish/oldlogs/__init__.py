"""From the logs of the old programs to exact numbers (ticket 5047, comment 1); publish/log2stats.py puts it together.

A log is read in pieces of whole lines (pieces). A piece becomes times and events, line by line (blocks), or with numpy
many lines at once (columns; shapes is how it knows lines, endpoints how it reads addresses). Blocks of several logs are
put in order by time (order). What happened is divided into intervals (counting); who was there in one is known by
hashes (clients), and some of them take their leave again (failing). Numbers come of it (sums), and sentences for the
operator (notes).
"""
