"""The rendering: an `AuditRun` in, `{file name: content}` out.

Reads its own templates and encodes images. Never computes a statistic, never reads a run folder, and imports
from `audit` nothing but `types`.
"""
