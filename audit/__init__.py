"""The domain: what is true of a model on a dataset.

Computes with numpy, pandas, tensorflow, scikit-image and joblib. Never opens a file, logs, prints, or reads
the clock, the environment or global random state, and never imports `reports` or `pipelines`.
"""
