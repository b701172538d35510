"""Says a word and a setting; ends for no reason, or stands until it is told to stop."""

import os
import signal
import sys
import time

print(sys.argv[1], os.environ["WAYBILL_WORD"], flush=True)
if sys.argv[1] == "stand":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    while True:
        time.sleep(0.01)
raise ValueError("for no reason")
