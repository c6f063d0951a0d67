/* SPDX-License-Identifier: MIT
 *
 * Giving memory back: by the sender, and by its receiver when the sender does not run.
 *
 * Code: out_reserve, out_trim, outs_trim (src/node/grow.c), grant, open_channel (out.c), settle
 * (open.c); in_tidy, drop_ephemeral (in.c), custody_take, custody_tidy_sender, trim_channel
 * (custody.c); for the observer docs/SEGMENT.md, section 11.
 *
 * Abstracted: a message takes a page of the file; the ring has CAP of them. A page has memory or
 * not, and says whose data is in it: 0 after it was punched. Pages are punched one by one, and what
 * waits behind the link is left out. The sender trims when it likes, empty or not; it closes in
 * order, or dies, and is succeeded. EPHEMERAL: it is not, and its channel is removed. The receiver
 * frees at once. STAGES: messages may be written and not published. The observer reads one page, and
 * believes it or not.
 *
 * check: MSGS=2 TRIMS=1 LIVES=2
 * check: MSGS=2 TRIMS=1 LIVES=1 TIDIES=1
 * check: MSGS=1 TIDIES=1 EPHEMERAL=1
 * check: MSGS=5 TRIMS=1 LIVES=1 OBSERVES=1
 * soak: MSGS=6 TRIMS=2 LIVES=3 TIDIES=1
 * soak: MSGS=6 TRIMS=2 LIVES=2 TIDIES=2
 * soak: MSGS=7 TRIMS=2 LIVES=2 OBSERVES=2
 * soak: MSGS=7 STAGES=1 TRIMS=2 LIVES=2 TIDIES=1 OBSERVES=1
 */
#include "model.h"

#define CLAIMS       (broken == 1)  /* no_store_to_hole: a trim claims what was never reserved */
#define KEEPS_ROOM   (broken == 2)  /* no_store_to_hole, MSGS=6:
        a trim leaves what may be written as it is */
#define HEIR_TRUSTS  (broken == 3)  /* no_store_to_hole, MSGS=3 TIDIES=1:
        a successor believes what was reserved */
#define NO_CUSTODY   (broken == 4)  /* no_store_to_hole, MSGS=5 TIDIES=1:
        a receiver trims beside the sender */
#define TO_TAIL      (broken == 5)  /* no_lost_data: punched up to what was sent, not to the head */
#define ONE_LOOK     (broken == 6)  /* no_lost_data, MSGS=1 TRIMS=0 LIVES=1 TIDIES=1 EPHEMERAL=1:
        a channel is removed without another look after its sender's end */
#define KEPT_LATE    (broken == 7)  /* no_false_copy, MSGS=3 OBSERVES=1: punched, and then told */
#define ROOM_LATE    (broken == 8)  /* no_false_copy, MSGS=7 STAGES=1 TRIMS=0 LIVES=0 OBSERVES=1:
        written, and then told */

#define CAP 4
#define KEEP 2
#define SENDER 1
#define RECEIVER 2

byte MSGS, STAGES, EPHEMERAL;
byte trims, lives, tidies, observes;

byte custody = SENDER; /* of the sender; 0: nobody's */
bit removed;           /* the channel's files */
byte tail, head;       /* pages */
byte kept, reserved;   /* the words that others see */
bit memory[CAP];
byte data[CAP];        /* position + 1 of what lies there */

bit no_store_to_hole = 1;
bit no_lost_data = 1;
bit no_false_copy = 1;

#define STEP atomic

#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* out_trim: [end, first + CAP) goes, by page. kept is told first. */
#define PUNCH(first, end)                                                                          \
    STEP {                                                                                         \
        if                                                                                         \
        :: KEPT_LATE                                                                               \
        :: else -> kept = MAX(kept, first)                                                         \
        fi;                                                                                        \
        at = end                                                                                   \
    };                                                                                             \
    do                                                                                             \
    :: STEP { at < (first) + CAP -> memory[at % CAP] = 0; data[at % CAP] = 0; at++ }               \
    :: STEP { at >= (first) + CAP -> at = 0; kept = MAX(kept, first); break }                      \
    od

proctype sender() {
    byte pos, mine_kept, mine_reserved, freed, at, first, end;
    bit all;

open: /* open_channel: what a predecessor reserved is not known */
    STEP {
        custody == SENDER;
        pos = tail;
        mine_kept = pos;
        mine_reserved = (HEIR_TRUSTS -> reserved : pos);
        all = 0
    };
work:
    STEP {
        if
        :: pos < MSGS && pos < head + CAP
        :: pos > tail -> tail = pos; goto work
        :: trims > 0 -> trims--; goto trim
        :: lives > 0 && head == pos -> lives--; goto close
        :: lives > 0 -> lives--; goto death
        :: EPHEMERAL && lives == 0 && pos == MSGS -> goto death
        fi
    };
    STEP { /* out_reserve */
        if
        :: !all && pos >= mine_reserved ->
            memory[pos % CAP] = 1;
            memory[(pos + 1) % CAP] = 1; /* one ahead */
            mine_reserved = pos + 2;
            all = mine_reserved - mine_kept >= CAP
        :: else
        fi
    };
    STEP { /* grant */
        if
        :: ROOM_LATE
        :: else -> reserved = MAX(reserved, pos + 2)
        fi
    };
    STEP {
        MUST(no_store_to_hole, memory[pos % CAP]);
        data[pos % CAP] = pos + 1
    };
    STEP {
        pos++;
        if
        :: reserved = MAX(reserved, pos + 1); tail = pos
        :: STAGES && pos < MSGS
        fi;
        goto work
    };

trim:
    STEP {
        freed = head;
        end = pos + (freed == pos); /* the page at hand counts as kept */
        first = MAX((TO_TAIL -> pos : (freed == pos -> end : freed)), KEEP) - KEEP;
        if
        :: TO_TAIL -> first = pos
        :: else
        fi;
        if
        :: first + CAP <= end -> goto work
        :: else
        fi
    };
    PUNCH(first, end);
    STEP {
        if
        :: KEEPS_ROOM
        :: CLAIMS -> mine_kept = first; mine_reserved = end; all = 0
        :: else ->
            mine_kept = MAX(mine_kept, first);
            mine_reserved = (all || mine_reserved > end -> end : mine_reserved);
            all = 0
        fi;
        freed = 0; first = 0; end = 0;
        goto work
    };

close: /* settle: nothing stays */
    PUNCH(pos, pos);
death: /* the kernel drops the lock; a successor waits for the custody */
    STEP {
        custody = 0;
        pos = 0; mine_kept = 0; mine_reserved = 0; all = 0;
        if
        :: EPHEMERAL -> goto gone
        :: else
        fi
    };
    STEP { custody == 0 -> custody = SENDER; goto open };
gone:
    false
}

proctype receiver() {
    byte at;

look:
    STEP {
        if
        :: !removed && tail > head ->
            MUST(no_lost_data, data[head % CAP] == head + 1);
            head++;
            goto look
        :: !removed && tail == head && tidies > 0 && (head > 0 || EPHEMERAL) -> tidies--
        fi
    };
    STEP { /* custody_take */
        if
        :: custody == 0 -> custody = RECEIVER
        :: custody != 0 && NO_CUSTODY
        :: else -> goto look
        fi
    };
    STEP {
        if
        :: tail != head && !ONE_LOOK -> goto done
        :: else
        fi;
        if
        :: EPHEMERAL -> removed = 1; goto done
        :: else
        fi
    };
    PUNCH(MAX(head + 1, KEEP) - KEEP, head + 1); /* trim_channel */
done:
    STEP {
        if
        :: custody == RECEIVER -> custody = 0
        :: else
        fi;
        goto look
    }
}

/* A copy of a page behind the head counts if it was not punched, and cannot have been reached by
 * the writer, after it was made. */
proctype observer() {
    byte at, copy;

    do
    :: STEP { observes > 0 && head > 0 -> observes--; at = head - 1 };
        STEP {
            if
            :: at > 0 -> at--
            :: skip
            fi
        };
        copy = data[at % CAP];
        STEP {
            if
            :: kept <= at && at + CAP >= MAX(reserved, tail + 1) ->
                MUST(no_false_copy, copy == at + 1)
            :: else
            fi;
            at = 0; copy = 0
        }
    od
}

proctype judge() {
    timeout;
    MUST(no_lost_data, head == tail)
}

init {
    d_step {
        c_code {
            now.broken = world("BROKEN", 0);
            now.MSGS = world("MSGS", 2);
            now.STAGES = world("STAGES", 0);
            now.EPHEMERAL = world("EPHEMERAL", 0);
            now.trims = world("TRIMS", 0);
            now.lives = world("LIVES", 0);
            now.tidies = world("TIDIES", 0);
            now.observes = world("OBSERVES", 0);
        }
    };
    atomic {
        run sender(); run receiver(); run observer(); run judge()
    }
}
