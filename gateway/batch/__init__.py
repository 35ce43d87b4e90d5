"""Batches: readings of one lane, sealed once; the same bytes on flash, on the wire and at the receiver.

builder   open rows of one lane, and the decision when they make a batch
columns   rows → topics, fields, keys and tables: the content, its canonical order and its hash
packing   one column of numbers, bits or text ↔ the fewest bytes
body      content ↔ bytes
envelope  header, body and checksum: `seal` and `peek`
gap       the envelope that says which batches will never come
decode    any envelope → verified content
thin      verified batches → fewer rows that still say what they said
"""
