"""`gateway demo`: a simulated plant, two small brokers, the real daemon and the real receiver on one machine.

Everything here is for showing and testing; none of it is part of what runs at a site.

    plant     60 simulated sensors that keep books          scene      the time table, and what it does to the processes
    sessions  what an MQTT broker remembers (pure)          books      what was sent against what arrived
    broker    that, on sockets, as a process of its own     view       what is shown while it runs, and at the end
    site      configurations; what the sinks hold           processes  children that end when we do
    pki       the certificates
"""
