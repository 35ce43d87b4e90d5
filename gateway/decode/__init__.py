"""From payload to row, one file a format. Pure: bytes in, a flat row out, `DecodeError` for everything else."""
