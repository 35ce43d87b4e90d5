"""The spool: the durable ring of sealed batches, one ring per lane, one cursor per region and lane.

`lanes` is the whole. `ring` writes one lane and keeps it within its bytes, `reader` reads it from any thread,
`contents` is what both agree on, `segment` one file; `opening` and `recovery` take up what a crash left; `books` know
what is gone, `cursor` knows what each region has, `slots` make both durable; `format` says which bytes.
"""
