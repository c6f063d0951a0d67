#!/bin/bash
# Prints the version, which stands in the header and nowhere else.

exec sed -n '/^#define TRAM_VERSION_[A-Z]* [0-9]*$/{s/.* //;H};${x;s/\n//;s/\n/./g;p}' \
    "$(dirname "$0")/../include/tram/tram.h"
