"""Every error frontpage raises on purpose.

```
FrontpageError
├── InvalidMessageError    bytes that are not a valid message; carries a reason for the dead letter
├── BundleError            a model bundle that is missing, broken or not what its manifest says
├── ReadingSetError        a reading set that is missing a file or holds a bad line
├── SettingsError          a setting that is missing or out of range; names the variable
├── UnavailableError       Kafka or Redis cannot be reached, or lacks what is needed
├── TrainingError          training data or options that cannot give a model
└── WorkerFaultError       a fault of the worker itself; carries no text that a person wrote
```

The console script prints any of them as one line and exits with 1.
"""


class FrontpageError(Exception):
    """Be the root of frontpage's own errors."""


class InvalidMessageError(FrontpageError):
    """Say why a message cannot be used.

    `reason` is one of a small set of words (safe for headers, metrics and logs: it never
    quotes the message); the exception's text may hold more detail about the field.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class BundleError(FrontpageError):
    """Say what is wrong with a model bundle."""


class ReadingSetError(FrontpageError):
    """Say what is wrong with a reading set, with file and line."""


class SettingsError(FrontpageError):
    """Name the setting that is missing or out of range."""


class UnavailableError(FrontpageError):
    """Name the service that cannot be reached or lacks what is needed."""


class TrainingError(FrontpageError):
    """Say why a model cannot be trained from what was given."""


class WorkerFaultError(FrontpageError):
    """Stand for an unforeseen exception whose own text may quote readers or articles."""
