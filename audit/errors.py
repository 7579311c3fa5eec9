"""What the user can mend. Each message says what was expected, what was found, where, and what to do."""


class AuditError(Exception):
    """Wrong input: one sentence for the user, never a traceback."""


class ConfigError(AuditError):
    """The command line or the configuration is wrong."""


class DatasetError(AuditError):
    """The dataset, an annotation or an image cannot be used."""


class UnusableError(DatasetError):
    """Nothing of the dataset could be audited, or less than the configuration asks for."""


class ModelError(AuditError):
    """The model cannot be loaded, or does not fit the dataset."""


class RunError(AuditError):
    """A run folder cannot be used: another configuration, another run in progress, a damaged file."""


class StorageError(RunError):
    """The disk refused: full, read-only, gone. What was finished is kept."""
