/* SPDX-License-Identifier: MIT */
#include "support/topic_litmus_sides.h"
#include "topic/topic.h"

const struct topic_sides topic_fenced = TOPIC_SIDES;
