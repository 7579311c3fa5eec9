"""The hosted explanation services, one file each: their metadata in, their answers out.

The file name is what users type for `--shape`, with a hyphen or an underscore.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pipelines.hosted._values import Answered, HostedExplanation


class HostedService(Protocol):
    """A frozen dataclass without fields."""

    def owns(self, document: Mapping[str, Any], file_name: str) -> bool:
        """Whether a metadata file is this service's."""
        ...

    def read(self, document: Mapping[str, Any], where: str) -> HostedExplanation:
        """What a metadata file asks for.

        Args:
            document: the JSON object.
            where: how messages name the file.

        Raises:
            ConfigError: a key is unknown or cannot be honoured, or a value is out of range; the message names the key
                and the nearest supported one.
        """
        ...

    def answer(self, answered: Sequence[Answered], *, input_name: str, output_name: str) -> dict[str, Any]:
        """The response that the service would have given, as a JSON object; what is not measurable is null."""
        ...
