"""Sweeps: many songs from one spec, each cell paid for once in its life.

spec      the validated spec                           cells     requests with their content-addressed keys
plan      cost and duration of a run                   run       run many cells in one session
sweep     run a whole sweep and read its result        status    counts of cells, read from the ledger
tally     running counts of a run's cell outcomes      shards    groups of cells that travel to other machines

sweep = load_sweep(Path("waltz.yaml"))
result = await run_sweep(session, sweep.name, cells_of(sweep, access), access, RunOptions(concurrency=20))
"""
