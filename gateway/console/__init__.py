"""The console: a web page about this node, served by the daemon itself, with nothing to build and nothing to fetch.

    browser ─▶ WebServer of `health` ─▶ pages ─▶ assets     the page: HTML, CSS and ES modules, from the package
                                          │  ─▶ documents   what it shows: one JSON document for each view
                                          └──▶ actions      redrive, purge, reload: a token, a Unix socket or TLS

The page asks for the document of the view that is open, once a second, and only while somebody sees it; all who look
share one answer. Whoever reaches the listener may look, so that is this machine, or holders of a client certificate.
Whatever came from a sensor is hostile: the page writes text, never markup, and its policy lets no script in but its
own files.
"""
