"""Files and notes: their objects, what creating one brings with it, their bytes, and multipart bodies."""
