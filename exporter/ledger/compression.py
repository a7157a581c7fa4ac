"""How encoded traces lie on the disk: zlib with a preset dictionary, behind a format byte.

The spans of all runs are made of the same few keys and values, so a dictionary of them cuts a small
trace to a third. zlib's own checksum finds a flipped bit. A dictionary is never changed, only
followed by the next: rows written with an older one must stay readable.
"""

import zlib
from typing import Final

from exporter.errors import LedgerRefused

_LEVEL: Final = 6

# The most frequent strings last: zlib finds them at the shortest distance.
_DICTIONARY_1: Final = b"".join(
    (
        b"https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev",
        b"\x12\x10conduit-exporter\x12\x011\x0a\x19\x0a\x0cservice.name\x12\x09\x0a\x07conduit",
        b"error.type_OTHERfailedescalatedescalation_and_answerunresolvedno_opproactive",
        b"conduit.run.disposition_reasonconduit.trigger.event_idconduit.trigger.id",
        b"gen_ai.output.messagesgen_ai.tool.call.argumentsgen_ai.tool.call.result",
        b"\x0a\x0esession.id\x12\x0d\x0a\x0bsess_",
        b"conduit.run.cost_usd\x12\x09\x21conduit.run.backend_id\x12\x0e\x0a\x0crun_",
        b"gen_ai.usage.output_tokens\x12\x03\x18gen_ai.usage.input_tokens\x12\x03\x18",
        b"server.address\x12\x10\x0a\x0eapi.conduit.ai",
        b"conduit.trace.id\x12\x12\x0a\x10conduit.timing\x12\x0a\x0a\x08measuredfrom_duration",
        b"conduit.run.status\x12\x0b\x0a\x09completed",
        b"conduit.run.disposition\x12\x0a\x0a\x08resolved",
        b"gen_ai.provider.name\x12\x09\x0a\x07conduit",
        b"conduit.workspace.id\x12\x21\x0a\x1fconduit.run.id\x12\x22\x0a\x20ar77",
        b"gen_ai.operation.name\x12\x0e\x0a\x0cinvoke_agent invoke_agent",
        b"gen_ai.conversation.id\x12\x22\x0a\x20cv77gen_ai.agent.name\x12",
        b"gen_ai.agent.id\x12\x22\x0a\x20ag77conduit.tool.index\x12\x02\x18",
        b"conduit.tool.timing\x12\x0b\x0a\x09synthetic",
        b"gen_ai.tool.name\x12gen_ai.operation.name\x12\x0e\x0a\x0cexecute_tool execute_tool ",
        b"\x30\x01\x39\x00\x00\x00\x00\x00\x00\x00\x18\x41\x00\x00\x00\x00\x00\x00\x00\x18\x4a",
    )
)
_DICTIONARIES: Final = {1: _DICTIONARY_1}
_NEWEST: Final = max(_DICTIONARIES)


def compress(payload: bytes) -> bytes:
    """The bytes as they are stored."""
    packer = zlib.compressobj(_LEVEL, zdict=_DICTIONARIES[_NEWEST])
    return bytes((_NEWEST,)) + packer.compress(payload) + packer.flush()


def decompress(stored: bytes) -> bytes:
    """The bytes as they were given to `compress`, or LedgerRefused if they were damaged."""
    try:
        unpacker = zlib.decompressobj(zdict=_DICTIONARIES[stored[0]])
        payload = unpacker.decompress(stored[1:]) + unpacker.flush()
    except (zlib.error, KeyError, IndexError) as exc:
        raise LedgerRefused(
            "A stored trace is damaged", hint="restore the ledger from a copy, or rebuild it"
        ) from exc
    if not unpacker.eof:
        raise LedgerRefused(
            "A stored trace is cut short", hint="restore the ledger from a copy, or rebuild it"
        )
    return payload
