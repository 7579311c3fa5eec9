"""Every global property there is, by the name that tables and reports show."""

import functools
from collections.abc import Mapping
from types import MappingProxyType

import audit.properties as properties
from audit import plugins
from audit.properties import GlobalProperty


@functools.cache
def global_properties() -> Mapping[str, GlobalProperty]:
    """The properties by their `name`, sorted by the names of their files. They have no parameters."""
    found = [plugins.find(properties, name)() for name in plugins.names(properties)]
    return MappingProxyType({one.name: one for one in found})
