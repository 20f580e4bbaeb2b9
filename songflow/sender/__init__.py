"""The sender: a small process that makes the paid POSTs and outlives the process that asked for them.

client    the asking process's end: starts one sender, hands requests over, gets their outcomes
process   the sender itself: sends once, classifies, writes the outcome to the spool, and only then answers
orders    what is handed over and what comes back, and their form on the socket between the two
"""
