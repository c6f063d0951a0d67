import tram

with tram.Node(None, "1.0.0.1") as node:
    node.send("1.0.0.2", b"hello, world\n")
