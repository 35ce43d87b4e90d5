"""Events: what a batch holds as CloudEvents 1.0, for consumers that do not have our receiver.

`cloud_event` makes them, of batches and of gaps; ids are the same at every resend, so a consumer can leave out what it
has. `json`, `avro` and `protobuf` are the encodings; the latter two need an extra of the package.
"""
