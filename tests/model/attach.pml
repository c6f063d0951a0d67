/* SPDX-License-Identifier: MIT
 *
 * Attach: the first message of a sender to a receiver that sleeps, opens, or never ran.
 *
 * Code: out_get, find_or_make, attach, make_channel, outs_resume, publish_slow (src/node/out.c),
 * head_make, stream_make, files_generations (files.c), peer_door, peer_announce, peer_knock
 * (peer.c), door_announce, door_sleep (src/ring/door.h); open_door, node_start (open.c), ins_scan,
 * found, in_open, in_map (in.c), node_sleep, node_wake (wait.c).
 *
 * Abstracted: one sender, so at most one channel; OTHERS announce something of their own, each once
 * (a retry, another channel), in a step. A rename is one step, seen by all at once; nobody
 * removes anything (remove.pml) and no channel grows (grow.pml). A receive commits. No re-look, and
 * a successor of each that dies.
 *
 * check: MSGS=1 DDEATHS=1
 * check: MSGS=1 SDEATHS=1
 * check: MSGS=1 OTHERS=1
 * soak: MSGS=2 SDEATHS=1 DDEATHS=1 OTHERS=1
 * soak: MSGS=2 SDEATHS=2 DDEATHS=1
 * soak: MSGS=2 SDEATHS=2 DDEATHS=2
 * soak: MSGS=3 SDEATHS=1 DDEATHS=1
 */
#include "model.h"

#define MUTE         (broken == 1)  /* no_lost_channel: a new channel is not announced */
#define EARLY        (broken == 2)  /* no_lost_channel: it is announced before it is in place */
#define HEIR_MUTE    (broken == 3)  /* no_lost_channel, MSGS=2 SDEATHS=1 DDEATHS=0:
        a successor does not announce */
#define NO_ATTACHED  (broken == 4)  /* no_lost_channel: attached is not looked at after asleep */
#define NOTES_LATE   (broken == 5)  /* no_lost_channel, OTHERS=1:
        attached is noted after the scan */
#define OPENS_LATE   (broken == 6)  /* no_lost_channel: the same when it opens */
#define DOOR_LATE    (broken == 7)  /* no_lost_channel: it has no door until it has scanned */
#define NO_D1        (broken == 8)  /* no_lost_channel: attached and asleep without fence D1 */
#define NO_D2        (broken == 9)  /* no_lost_channel: asleep and attached without fence D2 */
#define IN_PLACE     (broken == 10) /* no_half_channel: the stream is written where it lies */
#define HEIR_SILENT  (broken == 11) /* no_lost_channel, MSGS=2 SDEATHS=1 DDEATHS=0:
        a successor announces, but does not ring */
/* And what is not needed: these must not fail. */
#define PUBLISHED    (broken == 12) /* nothing: the first publish comes before the announcement */
#define STREAM_FIRST (broken == 13) /* nothing: the stream is renamed into place before its head */

byte MSGS;
byte others;
byte sdeaths, ddeaths;
bit kill[2]; /* 0: the sender, 1: the receiver */

bit head_there, stream_there, stream_whole, door_there;
byte tail, tail_m;
byte armed, armed_m;
bit asleep, asleep_m;
byte a, rung;   /* of the sender: the word that it looked at, and rang for */
byte attached;  /* changed by read-modify-writes only */
bit announcing; /* one of them on its way */
bit bits, knock;
bit bell;
byte consumed;  /* journalled */

bit no_lost_channel = 1;
bit no_half_channel = 1;

#define ON(a) ((a) & 1)

inline sender_fence() {
    tail_m = tail;
    bits = bits | knock;
    knock = 0;
    attached = attached + announcing;
    announcing = 0
}

inline receiver_fence() {
    armed_m = armed;
    asleep_m = asleep
}

/* Each STEP is one step: at most one access to what others see. A store and the fence right behind
 * it are one, for nobody sees the store before; unless that fence is broken. */
#define STEP atomic

#define UNLESS(without, a_fence)                                                                   \
    if                                                                                             \
    :: without                                                                                     \
    :: else -> a_fence                                                                             \
    fi

/* Epochs only grow, and are only compared: any that nobody has in hand is as good as the next. */
#define IN_USE(e) (armed >> 1 == (e) || armed_m >> 1 == (e) || a >> 1 == (e) || rung >> 1 == (e))

inline arm() {
    if
    :: rung != armed && rung != armed_m -> rung = 0
    :: else
    fi;
    if
    :: !IN_USE(1) -> armed = 3
    :: IN_USE(1) && !IN_USE(2) -> armed = 5
    :: IN_USE(1) && IN_USE(2) && !IN_USE(3) -> armed = 7
    :: else -> armed = 9
    fi
}

/* peer_announce, door_announce. Another one on its way is made first. */
#define ANNOUNCE                                                                                   \
    if                                                                                             \
    :: door_there ->                                                                               \
        STEP {                                                                                     \
            attached = attached + announcing;                                                      \
            announcing = 1;                                                                        \
            UNLESS(NO_D1, sender_fence())                                                          \
        };                                                                                         \
        if                                                                                         \
        :: asleep_m -> bell = 1                                                                    \
        :: else                                                                                    \
        fi                                                                                         \
    :: else                                                                                        \
    fi

inline make_head() { /* a fresh one, in which nothing is armed */
    if
    :: STREAM_FIRST || !head_there || !stream_there -> head_there = 1; armed = 0; armed_m = 0
    :: else
    fi
}

proctype sender() {
    bit again, made, told;

life:
    {
        STEP { /* outs_resume; find_or_make */
            if
            :: head_there && stream_there -> goto found
            :: else
            fi
        };
        if
        :: EARLY -> ANNOUNCE
        :: else
        fi;
        STEP {
            if
            :: STREAM_FIRST -> stream_there = 1; stream_whole = 1
            :: else -> make_head()
            fi
        };
        STEP {
            if
            :: STREAM_FIRST -> make_head()
            :: else ->
                stream_there = 1;
                stream_whole = !IN_PLACE
            fi;
            made = 1
        };
        stream_whole = 1;

found:
        if
        :: MUTE || EARLY || (HEIR_MUTE && !made) -> told = 1
        :: PUBLISHED && made
        :: else -> ANNOUNCE; told = 1
        fi;
        STEP {
            if
            :: made || !again || HEIR_SILENT -> goto send
            :: else -> sender_fence(); goto look
            fi
        };

send: /* ring_tx_publish, F1 */
        STEP {
            if
            :: tail < MSGS -> tail++; sender_fence()
            :: else -> goto done
            fi
        };
look: /* ring_tx_must_ring */
        STEP {
            a = armed_m;
            if
            :: ON(a) && a != rung -> rung = a
            :: else -> a = 0; goto tell
            fi
        };
        STEP { /* peer_knock */
            a = 0;
            if
            :: door_there -> knock = 1; UNLESS(NO_D1, sender_fence())
            :: else -> goto tell
            fi
        };
        if
        :: asleep_m -> bell = 1
        :: else
        fi;
tell:
        if
        :: told
        :: else -> ANNOUNCE; told = 1
        fi;
        goto send;
done:
        false
    } unless {
        STEP {
            kill[0];
            kill[0] = 0;
            sender_fence();
            a = 0; rung = 0; made = 0; told = 0; again = 1;
            goto life
        }
    }
}

proctype other() {
    do
    :: others > 0 ->
        STEP {
            others--;
            attached++;
            if
            :: asleep_m -> bell = 1
            :: else
            fi
        }
    od
}

/* ins_scan: the stream is found; then its head is opened, and disarmed (in_open, F2). */
#define SCAN                                                                                       \
    STEP {                                                                                         \
        if                                                                                         \
        :: stream_there && head_there && !known ->                                                 \
            MUST(no_half_channel, stream_whole);                                                   \
            known = 1;                                                                             \
            armed = armed & 254;                                                                   \
            receiver_fence();                                                                      \
            hot = 1                                                                                \
        :: else                                                                                    \
        fi                                                                                         \
    }

#define READY (hot && tail_m > consumed)

proctype receiver() {
    bit known, hot, lit;
    byte seen;

life:
    {
        door_there = !DOOR_LATE; /* open_door */
        STEP { asleep = 0; asleep_m = 0; bell = 0 };
        bits = 0;
        UNLESS(OPENS_LATE, seen = attached);
        SCAN;
        UNLESS(!OPENS_LATE, seen = attached);
        UNLESS(!DOOR_LATE, door_there = 1);

look:
        STEP {
            if
            :: READY -> consumed++; goto look
            :: bits || attached != seen -> goto wake
            :: !READY && !bits && attached == seen -> goto rest
            fi
        };
rest:
        STEP { /* arm_all, F2 */
            if
            :: hot -> arm(); receiver_fence()
            :: else -> goto sleep
            fi
        };
        STEP {
            if
            :: READY -> armed = armed & 254; goto wake
            :: else -> hot = 0
            fi
        };
sleep: /* node_sleep, D2 */
        STEP {
            if
            :: lit -> bell = 0; lit = 0
            :: else
            fi;
            asleep = 1;
            UNLESS(NO_D2, receiver_fence())
        };
        STEP {
            if
            :: bits -> goto wake
            :: else
            fi
        };
        STEP {
            if
            :: attached != seen && !NO_ATTACHED -> goto wake
            :: else
            fi
        };
        STEP { bell -> lit = 1 };

wake: /* node_wake */
        STEP {
            asleep = 0;
            asleep_m = 0;
            if
            :: bits ->
                receiver_fence();
                bits = 0;
                if
                :: known -> armed = armed & 254; armed_m = armed; hot = 1
                :: else
                fi
            :: else
            fi
        };
        if
        :: attached != seen ->
            UNLESS(NOTES_LATE, seen = attached);
            SCAN;
            UNLESS(!NOTES_LATE, seen = attached)
        :: else
        fi;
        goto look
    } unless {
        STEP {
            kill[1];
            kill[1] = 0;
            receiver_fence();
            known = 0; hot = 0; lit = 0; seen = 0;
            goto life
        }
    }
}

proctype memory() {
    do
    :: d_step { tail_m != tail -> tail_m = tail }
    :: d_step { announcing -> announcing = 0; attached++ }
    :: d_step { knock -> knock = 0; bits = 1 }
    :: d_step { armed_m != armed -> armed_m = armed }
    :: d_step { asleep_m != asleep -> asleep_m = asleep }
    od
}

proctype reaper() {
    do
    :: d_step { sdeaths > 0 && !kill[0] -> sdeaths--; kill[0] = 1 }
    :: d_step { ddeaths > 0 && !kill[1] -> ddeaths--; kill[1] = 1 }
    :: d_step { sdeaths > 0 || ddeaths > 0 -> sdeaths = 0; ddeaths = 0 }
    :: sdeaths == 0 && ddeaths == 0 -> break
    od
}

proctype judge() {
    timeout;
    MUST(no_lost_channel, tail == MSGS && consumed == tail)
}

init {
    d_step {
        c_code {
            now.broken = world("BROKEN", 0);
            now.MSGS = world("MSGS", 2);
            now.others = world("OTHERS", 0);
            now.sdeaths = world("SDEATHS", 0);
            now.ddeaths = world("DDEATHS", 0);
        }
    };
    atomic {
        run memory(); run sender(); run other(); run receiver(); run reaper(); run judge()
    }
}
