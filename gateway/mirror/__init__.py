"""Mirror: from the spool to one region, each region by itself.

`session` decides what is sent and where the cursor stands (pure), `driver` connects, reads the spool and does what the
session says, `shipment` turns batches into messages for the transport, `parked` keeps what the region refuses.
"""
