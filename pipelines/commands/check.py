"""`rightreasons check`."""

from pipelines.commands import (
    DONE,
    Classes,
    ConfigFile,
    Data,
    Masks,
    Methods,
    Model,
    PerClass,
    Settings,
    Splits,
    configured,
    make_console,
)

EXAMPLE = "rightreasons check audit.toml"


def command(
    config: ConfigFile = None,
    data: Data = None,
    model: Model = None,
    classes: Classes = None,
    masks: Masks = None,
    methods: Methods = None,
    splits: Splits = None,
    per_class: PerClass = None,
    settings: Settings = None,
) -> int:
    """Read everything, attribute a few samples, and say what would fail and how long the run would take."""
    from pipelines.check import check_audit

    loaded = configured(config, data, model, classes, masks, methods, splits, per_class, None, settings)
    check_audit(loaded, make_console())
    return DONE
