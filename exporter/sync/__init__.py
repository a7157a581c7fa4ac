"""Decides which request to Conduit is worth making next, makes it, and records what it brought.

`SyncService` is the stage; `plan` is the decision, pure; `AgentReader` makes requests. Never talks
to the trace backend.
"""
