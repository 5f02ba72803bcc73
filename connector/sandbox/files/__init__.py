"""Files and notes (1.9): their objects, what creating one brings with it, their bytes, and multipart bodies."""
