"""The journal: the log of inputs that the pipeline's state is a pure function of, and the checkpoints that shorten it.

`format` says which bytes, `writer` makes inputs durable, `checkpoint` keeps the pipeline's state at a position,
`replay` reads back what was written after it.
"""
