"""How shards are executed: each file gives an executor of `concurrent.futures`; `run.py` does not know which."""
