"""Imported before everything else by the scripts of a build: until all is imported an interruption just ends the process.

Raised in an import it would be a long traceback.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
