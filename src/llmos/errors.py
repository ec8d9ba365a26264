"""Every error that LLMOS raises on purpose, as one tree.

LLMOSError
├── UsageError          wrong arguments: a missing file, a name given twice
├── RecipeError         a recipe that cannot be read or breaks its schema
├── DataError           a member's text cannot be read or used
├── StorageError        disk full, a locked or damaged folder
├── ProtocolError       a message of a joint run that does not fit the run
│   └── SignatureError  a signature that does not verify
├── LedgerError         a ledger that is broken, rewritten or cut
├── TrainingError       training went wrong (loss is not a number, ...)
└── ModelError          a model folder that cannot be loaded

The message of each says the offending value and the next step in one line. The command line
prints it without a traceback and exits with code 2.
"""


class LLMOSError(Exception):
    """Base of all errors that LLMOS raises on purpose."""


class UsageError(LLMOSError):
    """The arguments of a call or a command do not fit."""


class RecipeError(LLMOSError):
    """A recipe cannot be read or breaks its schema."""


class DataError(LLMOSError):
    """A member's text cannot be read or used."""


class StorageError(LLMOSError):
    """Disk full, a locked or damaged folder."""


class ProtocolError(LLMOSError):
    """A message of a joint run does not fit the run."""


class SignatureError(ProtocolError):
    """A signature does not verify."""


class LedgerError(LLMOSError):
    """A ledger is broken, rewritten or cut."""


class TrainingError(LLMOSError):
    """Training went wrong."""


class ModelError(LLMOSError):
    """A model folder cannot be loaded."""
