"""The audit log: who changed what, kept so that a missing or changed entry shows.

    entry    one entry and its bytes; each names the hash of the one before it
    proof    what a chain of entries proves, and what breaks it
    chain    the files: append under a lock, durable, bounded
    trail    what the process has to say, on its way into the chain; `record` is what everyone calls
    actor    who acts: user, login, process
    audited  what a person does, told before and after

An entry goes into the chain on the box first. Where a lane is configured, it also goes through the journal into that
lane's batches like any reading (`gateway.flow`), so that each region has a copy that nobody on the box can change.
"""
