"""A first load: a snapshot taken in as it comes, block by block, resumed where it was cut (protocol 7)."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from homeroom.client import Client
from homeroom.errors import Code, ConnectionCut, HomeroomError
from homeroom.replica.arrivals import parse_block
from homeroom.replica.ledger import Ledger
from homeroom.replica.machine import Happening, Phase, TypeState, What, advance
from homeroom.replica.storage import Batch, Storage, StorageError

_BLOCK_BYTES = 2 * 1024 * 1024
"""What is parsed and stored at once. One block is stored while the next one comes: memory stays at a few of them."""


async def load(client: Client, ledger: Ledger, name: str) -> None:
    """One attempt at what is missing of a first load. Returns when it is complete, or has to begin anew; raises what
    cut it (HomeroomError, StorageError): what came before is stored."""
    failures: list[Exception] = []
    send, receive = anyio.create_memory_object_stream[bytes](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, client, name, ledger.states[name], send, failures)
        async with receive:
            try:
                async for lines in receive:
                    await _take(ledger, name, lines)
                    if ledger.states[name].phase is not Phase.LOADING:
                        break
            except (HomeroomError, StorageError) as failure:
                failures.insert(0, failure)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if ledger.states[name].phase is Phase.LOADING:
        raise ConnectionCut(Code.CORE_NOT_AVAILABLE, "the snapshot ended without a bookmark")


async def _read(
    client: Client, name: str, state: TypeState, send: MemoryObjectSendStream[bytes], failures: list[Exception]
) -> None:
    async with send, aclosing(client.snapshot_lines(name, state.cursor, state.until or None)) as blocks:
        try:
            async for lines in _gathered(blocks):
                await send.send(lines)
        except HomeroomError as failure:
            failures.append(failure)


async def _gathered(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same lines in larger blocks; what came before a cut comes before its error."""
    parts: list[bytes] = []
    cut: HomeroomError | None = None
    try:
        async for lines in blocks:
            parts.append(lines)
            if sum(map(len, parts)) >= _BLOCK_BYTES:
                yield b"".join(parts)
                parts = []
    except HomeroomError as failure:
        cut = failure
    if parts:
        yield b"".join(parts)
    if cut is not None:
        raise cut


async def _take(ledger: Ledger, name: str, lines: bytes) -> None:
    what, state, applied = await ledger.in_thread(_store, ledger.storage, name, lines, ledger.states[name])
    ledger.states[name] = state
    ledger.noted(name, what, applied)


def _store(storage: Storage, name: str, lines: bytes, state: TypeState) -> tuple[What, TypeState, int]:
    """Store a block and where it ends; what it was, the state after it, how many records it held."""
    block = parse_block(lines, state.cursor)
    what = What.BLOCK
    if block.until is not None:
        if state.phase is Phase.LOADING and state.epoch != block.epoch:
            storage.forget_load(name)
            return What.NEW_EPOCH, advance(state, Happening(What.NEW_EPOCH)), 0
        _belongs(state.until in (0, block.until))
        state, what = advance(state, Happening(What.WINDOW, until=block.until, epoch=block.epoch)), What.WINDOW
    if block.records:
        state, what = advance(state, Happening(What.BLOCK, cursor=block.records[-1].version)), What.BLOCK
    storage.load(name, Batch(block.records, block.sources), state)
    if block.bookmark is not None:
        _belongs(block.bookmark == state.until and state.cursor <= state.until)
        state, what = advance(state, Happening(What.BOOKMARK)), What.BOOKMARK
        storage.finish_load(name, state)
    return what, state, len(block.records)


def _belongs(agrees: bool) -> None:
    if not agrees:
        raise ConnectionCut(Code.CORE_NOT_AVAILABLE, "the snapshot is of another window than was asked for")
