/* SPDX-License-Identifier: MIT */
#include "support/litmus_sides.h"

const struct litmus_sides litmus_fenced = LITMUS_SIDES;
