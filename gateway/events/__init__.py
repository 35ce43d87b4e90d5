"""Events: what a batch holds as CloudEvents 1.0, for consumers that do not have our receiver.

`json` makes them, of batches and of gaps; ids are the same at every resend, so a consumer can leave out what it has.
"""
