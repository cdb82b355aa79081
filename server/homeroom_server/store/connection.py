"""What statements run on: a connection of its own or one lent by a pool."""

from asyncpg import Connection
from asyncpg.pool import PoolConnectionProxy

Conn = Connection | PoolConnectionProxy
