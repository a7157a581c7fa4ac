"""What was seen, counted, fetched and delivered: the one place where the stages meet.

`LedgerFile` opens the SQLite file, `Ledger` holds its tables and committed totals, `LedgerGate` is
the way in from the event loop. Never calls another stage.
"""
