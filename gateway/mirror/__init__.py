"""Mirror: from the spool to one region, each region by itself.

`session` decides what is sent and where the cursor stands (pure), `credentials` watches the files of mTLS, `driver`
connects, reads the spool and does what the session says.
"""
