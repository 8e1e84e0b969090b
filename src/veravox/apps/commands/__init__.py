"""One file a command. `protocol_check.py` holds `veravox protocol check` as the function `command`.

Its docstring is the help. A file may import only light modules at its top: `veravox --help` imports them all.
"""
