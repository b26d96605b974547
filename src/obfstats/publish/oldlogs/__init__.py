"""Documents from the logs of programs that predate this one (ticket 5047, comment 1).

reading.py parses logs and merges them by time, counting.py divides what happened into intervals, clients.py counts the
clients of one, notes.py tells the operator what was left out. log2stats.py is the command.
"""
