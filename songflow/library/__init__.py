"""The library: ledger, audio store and spool, and how songs are stored in them."""
