"""The running: everything with an effect, from files, workers, retries and progress to the command line.

Holds no formula, and no limit outside `config.py`.
"""
