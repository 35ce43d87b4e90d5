"""Links to brokers: one file per kind of broker and use.

packets, connection, subscriber   MQTT 5 with acknowledgement by the application (ingest, region receiver)
contract, mqtt                    what a mirror needs of a region, and MQTT 5 over mTLS as one way to it
wire                              topics and words between node and receiver
backoff, tls                      waits between attempts, TLS contexts
"""
