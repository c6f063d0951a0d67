/* SPDX-License-Identifier: MIT
 *
 * Wake-up: two senders, one receiver that sleeps.
 *
 * Code: ring_tx_publish, ring_tx_must_ring (src/ring/tx.h), publish_slow, outs_resume (out.c);
 * door_knock, door_sleep, door_take, door_wake (src/ring/door.h); ring_rx_arm, ring_rx_disarm,
 * ring_rx_look (src/ring/rx.h); arm_all, node_sleep, node_wake, node_sleeps_on, node_block, relook
 * (src/node/wait.c); open_door (open.c), in_open (in.c), node_leave (node.h).
 *
 * Abstracted: a ring is how many messages were published and how many consumed, space is never
 * short (space.pml), channels are there already (attach.pml), `armed` has only its ON bit and the
 * epoch (remove.pml has CLOSED). A receive takes one message and commits it in one step. Senders
 * share a bit of the door, or do not (SAME). LOOP: the receiver is an event loop that polls the
 * descriptor of tram_fd() and receives without waiting. The re-look is switched off, but for
 * RELOOK=1, where it may happen once a sender has died for good.
 *
 * Worlds: messages of the first sender and of the other one, deaths of the first and of the
 * receiver, and whether a dead sender has a successor.
 *
 * check: MSGS=1 OTHERS=0 SDEATHS=1 DDEATHS=1
 * check: MSGS=1 OTHERS=1
 * check: MSGS=2 OTHERS=0 SDEATHS=1 LOOP=1
 * check: MSGS=2 OTHERS=0 SDEATHS=1 SUCCESSOR=0 RELOOK=1
 * soak: MSGS=1 OTHERS=1 SDEATHS=1 DDEATHS=1 LAZY=1
 * soak: MSGS=2 OTHERS=1 SDEATHS=1 DDEATHS=1
 * soak: MSGS=2 OTHERS=1 SDEATHS=1 SAME=0
 * soak: MSGS=1 OTHERS=1 SDEATHS=2 DDEATHS=1
 * soak: MSGS=2 OTHERS=1 SDEATHS=1 LOOP=1
 * soak: MSGS=2 OTHERS=1 SDEATHS=1 SUCCESSOR=0 RELOOK=1
 * soak: MSGS=2 OTHERS=1 SDEATHS=1 DDEATHS=1 SUCCESSOR=0
 */
#include "model.h"

/* The rules, broken one at a time: which property has to fail, and in which world. */
#define NO_F1        (broken == 1)  /* no_lost_wakeup: tail and armed without fence F1 */
#define NO_F2        (broken == 2)  /* no_lost_wakeup: armed and tail without fence F2 */
#define NO_D1        (broken == 3)  /* no_lost_wakeup: bit and asleep without fence D1 */
#define NO_D2        (broken == 4)  /* no_lost_wakeup: asleep and bits without fence D2 */
#define CLEARS       (broken == 5)  /* no_lost_wakeup: a sender clears asleep when it rings */
#define SKIPS        (broken == 6)  /* no_lost_wakeup: a bit that is set is taken for rung */
#define RESETS       (broken == 7)  /* no_lost_wakeup:
        a receiver that opens begins its epochs anew */
#define NO_EPOCH     (broken == 8)  /* no_lost_wakeup, MSGS=2: arming does not raise the epoch */
#define LOOKS_FIRST  (broken == 9)  /* no_lost_wakeup: rings are looked at before bits are taken */
#define NO_LOOK      (broken == 10) /* no_lost_wakeup: armed rings are not looked at again */
#define NO_BITS      (broken == 11) /* no_lost_wakeup: the bits are not looked at after asleep */
#define DRAINS_LATE  (broken == 12) /* no_lost_wakeup: the bell is emptied after asleep and bits */
#define MUTE         (broken == 13) /* no_lost_wakeup: a sender's successor does not ring */
#define OPENS_BLIND  (broken == 14) /* no_lost_wakeup: a receiver that opens does not look */
#define NO_RELOOK    (broken == 15) /* nobody_waits, SUCCESSOR=0 RELOOK=1 DDEATHS=0: no re-look */
#define LOOP_DRAINS  (broken == 16) /* no_lost_wakeup, MSGS=2 LOOP=1:
        a loop empties its bell after the bits */
#define LOOP_DARK    (broken == 17) /* no_lost_wakeup, MSGS=2 LOOP=1:
        work is left, the descriptor is dark */
/* And what is not needed: these must not fail. */
#define RINGS_ALWAYS (broken == 18) /* nothing, DDEATHS=0: a sender rings each time that it is armed */
#define RUNG_LATE    (broken == 19) /* nothing, DDEATHS=0: rung is noted after the knock, not before */

byte MSGS, OTHERS, SAME, LOOP, LAZY, SUCCESSOR, RELOOK;
byte sdeaths, ddeaths;
bit kill[3];          /* 0, 1: senders; 2: the receiver */
bit dead[2];          /* for good */

byte tail[2], tail_m[2];
byte armed[2], armed_m[2]; /* epoch * 2 + ON; see arm() */
bit asleep, asleep_m;
byte a[2], rung[2];   /* of a sender: the word that it looked at, and rang for */
bit knock[2];         /* a sender's bit on its way */
byte bits;            /* of the door; changed by read-modify-writes only */
bit bell;             /* the FIFO has bytes */
byte head[2];         /* consumed: journalled, so it outlives the receiver */

bit no_lost_wakeup = 1;
bit nobody_waits = 1;

#define ON(a) ((a) & 1)
#define MASK(k) (SAME -> 1 : 1 << (k))
#define OR_BIT(k) bits = bits | MASK(k); knock[k] = 0

inline sender_fence(k) {
    tail_m[k] = tail[k];
    if
    :: knock[k] -> OR_BIT(k)
    :: else
    fi
}

inline receiver_fence() {
    armed_m[0] = armed[0];
    armed_m[1] = armed[1];
    asleep_m = asleep
}

/* Each block below is one step: at most one access to what others see. A store and the fence right
 * behind it are one, for nobody sees the store before; unless that fence is broken. */
#define STEP atomic

#define UNLESS(without, a_fence)                                                                   \
    if                                                                                             \
    :: without                                                                                     \
    :: else -> a_fence                                                                             \
    fi

/* Epochs only grow, and are only compared: any that nobody has in hand is as good as the next. */
#define IN_USE(k, e) (armed[k] >> 1 == (e) || armed_m[k] >> 1 == (e) ||                            \
                      a[k] >> 1 == (e) || rung[k] >> 1 == (e))

inline arm(k) {
    if
    :: NO_EPOCH -> armed[k] = 3
    :: RESETS -> armed[k] = (armed[k] | 1) + 2
    :: else ->
        if
        :: rung[k] != armed[k] && rung[k] != armed_m[k] -> rung[k] = 0
        :: else
        fi;
        if
        :: !IN_USE(k, 1) -> armed[k] = 3
        :: IN_USE(k, 1) && !IN_USE(k, 2) -> armed[k] = 5
        :: IN_USE(k, 1) && IN_USE(k, 2) && !IN_USE(k, 3) -> armed[k] = 7
        :: else -> armed[k] = 9
        fi
    fi
}

/* LAZY: stores that would only be too late to save a bell are as late as others. */
inline disarm(k) {
    armed[k] = armed[k] & 254;
    if
    :: LAZY
    :: else -> armed_m[k] = armed[k]
    fi
}

proctype sender(byte k) {
    bit was, again;

life:
    {
        STEP {
            if
            :: again && !MUTE -> goto publish
            :: else
            fi
        };
send:
        STEP { /* ring_tx_publish */
            if
            :: tail[k] < (k -> OTHERS : MSGS) -> tail[k]++
            :: else -> goto done
            fi;
            UNLESS(NO_F1, sender_fence(k))
        };
        goto look;
publish:
        sender_fence(k);
look:
        STEP { /* ring_tx_must_ring */
            a[k] = armed_m[k];
            if
            :: ON(a[k]) && (a[k] != rung[k] || RINGS_ALWAYS) ->
                if
                :: RUNG_LATE
                :: else -> rung[k] = a[k]
                fi
            :: else -> a[k] = 0; goto send
            fi
        };
        STEP { /* door_knock */
            was = (bits & MASK(k)) != 0;
            knock[k] = 1;
            UNLESS(NO_D1, sender_fence(k))
        };
        STEP {
            if
            :: asleep_m && !(SKIPS && was) ->
                if
                :: CLEARS -> asleep = 0; asleep_m = 0
                :: else
                fi
            :: else -> rung[k] = a[k]; a[k] = 0; was = 0; goto send
            fi
        };
        STEP { bell = 1; rung[k] = a[k]; a[k] = 0; was = 0; goto send };
done:
        false
    } unless {
        STEP {
            kill[k];
            kill[k] = 0;
            sender_fence(k);
            a[k] = 0; rung[k] = 0; was = 0; again = 1;
            if
            :: SUCCESSOR -> goto life
            :: else -> dead[k] = 1
            fi
        }
    }
}

#define READY(k) (tail_m[k] > head[k])
#define FOUND(k) (hot[k] && READY(k))

inline look_armed(k) {
    if
    :: FOUND(k) && !NO_LOOK -> disarm(k); quiet = 0
    :: else -> hot[k] = 0
    fi
}

inline open_ring(k) { /* in_open; F2 */
    if
    :: RESETS -> armed[k] = 0
    :: else -> disarm(k)
    fi;
    receiver_fence();
    hot[k] = !OPENS_BLIND
}

inline heat(k) { /* peer_knocked */
    if
    :: taken & MASK(k) -> disarm(k); hot[k] = 1
    :: else
    fi
}

proctype receiver() {
    bit hot[2], quiet, lit, sleeping;
    byte taken;

life:
    {
        STEP { asleep = 0; bell = 0 }; /* open_door */
        STEP { receiver_fence(); bits = 0 };
        STEP { open_ring(0) };
        STEP { open_ring(1) };

look: /* node_look, take_one */
        STEP {
            if
            :: FOUND(0) -> head[0]++
            :: FOUND(1) -> head[1]++
            :: bits != 0 -> goto wake
            :: !FOUND(0) && !FOUND(1) && bits == 0 ->
                if
                :: sleeping -> goto stay
                :: else -> goto rest
                fi
            fi;
            if
            :: LOOP -> /* node_leave */
                if
                :: !lit && !LOOP_DARK -> lit = 1; bell = 1
                :: else
                fi;
                goto poll
            :: else -> goto look
            fi
        };

stay: /* node_sleeps_on */
        STEP {
            if
            :: LOOP_DRAINS ->
                if
                :: bits != 0 -> goto wake
                :: else
                fi
            :: else -> bell = 0
            fi
        };
        STEP {
            if
            :: LOOP_DRAINS -> bell = 0; goto poll
            :: else ->
                if
                :: bits != 0 -> goto wake
                :: else -> goto poll
                fi
            fi
        };

rest: /* arm_all */
        STEP {
            if
            :: hot[0] -> arm(0)
            :: else
            fi;
            if
            :: hot[1] -> arm(1)
            :: else
            fi;
            quiet = 1;
            UNLESS(NO_F2 || LAZY, receiver_fence())
        };
        STEP { /* F2 */
            UNLESS(NO_F2, receiver_fence());
            look_armed(0)
        };
        STEP {
            look_armed(1);
            if
            :: quiet -> quiet = 0
            :: else -> goto wake
            fi
        };
        STEP { /* node_sleep */
            if
            :: lit -> bell = 0; lit = 0
            :: else
            fi;
            asleep = 1;
            UNLESS(NO_D2, receiver_fence())
        };
        STEP {
            if
            :: bits != 0 && !NO_BITS -> goto wake
            :: else -> sleeping = 1
            fi;
            if
            :: DRAINS_LATE
            :: else -> goto poll
            fi
        };
        bell = 0;

poll: /* node_block, or the application's loop */
        STEP {
            if
            :: bell ->
                if
                :: LOOP -> goto look
                :: else -> lit = 1
                fi
            :: RELOOK && !NO_RELOOK && sleeping &&
               ((dead[0] && READY(0)) || (dead[1] && READY(1))) ->
                if /* relook */
                :: READY(0) -> disarm(0); hot[0] = 1
                :: READY(1) -> disarm(1); hot[1] = 1
                fi
            fi
        };

wake: /* node_wake; door_take: an exchange, if there is anything */
        STEP {
            asleep = 0;
            UNLESS(LAZY, asleep_m = 0);
            sleeping = 0;
            quiet = 0;
            taken = bits;
            if
            :: LOOKS_FIRST -> taken = (READY(0) -> MASK(0) : 0) | (READY(1) -> MASK(1) : 0)
            :: else ->
                if
                :: taken -> receiver_fence(); bits = 0
                :: else
                fi
            fi;
            heat(0);
            heat(1);
            taken = 0;
            if
            :: LOOKS_FIRST
            :: else -> goto look
            fi
        };
        STEP { bits = 0; goto look }
    } unless {
        STEP {
            kill[2];
            kill[2] = 0;
            receiver_fence();
            hot[0] = 0; hot[1] = 0; quiet = 0; lit = 0; sleeping = 0; taken = 0;
            goto life
        }
    }
}

proctype memory() {
    do
    :: d_step { tail_m[0] != tail[0] -> tail_m[0] = tail[0] }
    :: d_step { tail_m[1] != tail[1] -> tail_m[1] = tail[1] }
    :: d_step { knock[0] -> OR_BIT(0) }
    :: d_step { knock[1] -> OR_BIT(1) }
    :: d_step { armed_m[0] != armed[0] -> armed_m[0] = armed[0] }
    :: d_step { armed_m[1] != armed[1] -> armed_m[1] = armed[1] }
    :: d_step { asleep_m != asleep -> asleep_m = asleep }
    od
}

/* The two senders are alike: it is always the first that dies. */
proctype reaper() {
    do
    :: d_step { sdeaths > 0 && !kill[0] && !dead[0] -> sdeaths--; kill[0] = 1 }
    :: d_step { ddeaths > 0 && !kill[2] -> ddeaths--; kill[2] = 1 }
    :: d_step { sdeaths > 0 || ddeaths > 0 -> sdeaths = 0; ddeaths = 0 }
    :: sdeaths == 0 && ddeaths == 0 -> break
    od
}

proctype judge() {
    timeout;
    MUST(no_lost_wakeup, (head[0] == tail[0] || dead[0]) && (head[1] == tail[1] || dead[1]));
    MUST(nobody_waits, !RELOOK || (head[0] == tail[0] && head[1] == tail[1]))
}

init {
    d_step {
        c_code {
            now.broken = world("BROKEN", 0);
            now.MSGS = world("MSGS", 1);
            now.OTHERS = world("OTHERS", 1);
            now.sdeaths = world("SDEATHS", 0);
            now.ddeaths = world("DDEATHS", 0);
            now.SUCCESSOR = world("SUCCESSOR", 1);
            now.SAME = world("SAME", 1);
            now.LOOP = world("LOOP", 0);
            now.LAZY = world("LAZY", 0);
            now.RELOOK = world("RELOOK", 0);
        }
    };
    atomic {
        run memory(); run sender(0); run sender(1); run receiver(); run reaper(); run judge()
    }
}
