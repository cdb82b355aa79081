"""The suite for servers: over HTTP only, knowing nothing of what is behind it."""
