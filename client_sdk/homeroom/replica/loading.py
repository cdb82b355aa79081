"""A first load: a snapshot taken in as it comes, block by block, resumed where it was cut (protocol 7)."""

from contextlib import aclosing

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from homeroom.client import Client
from homeroom.errors import Code, ConnectionCut, HomeroomError
from homeroom.replica.arrivals import Block, joined, parse_block
from homeroom.replica.ledger import Ledger
from homeroom.replica.machine import Happening, Phase, TypeState, What, advance
from homeroom.replica.storage import Batch, Storage, StorageError

_BLOCK_BYTES = 2 * 1024 * 1024
"""What is parsed and stored at once. One block is stored while the next one comes: memory stays at a few of them."""


async def load(client: Client, ledger: Ledger, name: str) -> None:
    """One attempt at what is missing of a first load. Returns when it is complete, or has to begin anew; raises what
    cut it (HomeroomError, StorageError): what came before is stored."""
    failures: list[Exception] = []
    send, receive = anyio.create_memory_object_stream[Block](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, client, name, ledger.states[name], send, failures)
        async with receive:
            try:
                async for block in receive:
                    what, state = await ledger.in_thread(_store, ledger.storage, name, block, ledger.states[name])
                    ledger.states[name] = state
                    ledger.noted(name, what, len(block.records))
                    if state.phase is not Phase.LOADING:
                        break
            except (HomeroomError, StorageError) as failure:
                failures.insert(0, failure)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if ledger.states[name].phase is Phase.LOADING:
        raise ConnectionCut(Code.CORE_NOT_AVAILABLE, "the snapshot ended without a bookmark")


async def _read(
    client: Client, name: str, state: TypeState, send: MemoryObjectSendStream[Block], failures: list[Exception]
) -> None:
    """Parse each chunk as it comes, under a millisecond's work, so that the thread that stores has Python's lock."""
    blocks: list[Block] = []
    after, size = state.cursor, 0
    async with send, aclosing(client.snapshot_lines(name, state.cursor, state.until or None)) as chunks:
        try:
            async for lines in chunks:
                blocks.append(parse_block(lines, after))
                after, size = blocks[-1].last_version(after), size + len(lines)
                if size >= _BLOCK_BYTES:
                    await send.send(joined(blocks))
                    blocks, size = [], 0
        except HomeroomError as failure:
            failures.append(failure)
        if blocks:
            await send.send(joined(blocks))


def _store(storage: Storage, name: str, block: Block, state: TypeState) -> tuple[What, TypeState]:
    """Store a block and where it ends; what it was and the state after it."""
    what = What.BLOCK
    if block.until is not None:
        if state.phase is Phase.LOADING and state.epoch != block.epoch:
            storage.forget_load(name)
            return What.NEW_EPOCH, advance(state, Happening(What.NEW_EPOCH))
        _belongs(state.until in (0, block.until))
        state, what = advance(state, Happening(What.WINDOW, until=block.until, epoch=block.epoch)), What.WINDOW
    if block.records:
        state, what = advance(state, Happening(What.BLOCK, cursor=block.records[-1].version)), What.BLOCK
    storage.load(name, Batch(block.records, block.sources), state)
    if block.bookmark is not None:
        _belongs(block.bookmark == state.until and state.cursor <= state.until)
        state, what = advance(state, Happening(What.BOOKMARK)), What.BOOKMARK
        storage.finish_load(name, state)
    return what, state


def _belongs(agrees: bool) -> None:
    if not agrees:
        raise ConnectionCut(Code.CORE_NOT_AVAILABLE, "the snapshot is of another window than was asked for")
