"""The configuration: declared once in `schema`, read by `load`, shown by `render` and `json_schema`.

`options` lists what the Structs of `schema` declare; `units` and `values` turn one written value into one of theirs;
`positions` finds the lines of a file; `checks` says what options must be to each other.
"""
