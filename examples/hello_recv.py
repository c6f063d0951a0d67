import os
import tram

with tram.Node(None, "1.0.0.2") as node:
    for message in node:
        os.write(1, message.data)
