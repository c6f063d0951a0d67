/* SPDX-License-Identifier: MIT
 *
 * Space: a sender that waits for it, and a receiver that frees and sleeps.
 *
 * Code: out_room, wait_for_space, out_knocked (src/node/out.c), ring_tx_want, ring_tx_unwant,
 * ring_tx_look (src/ring/tx.c); ring_rx_free, ring_rx_must_ring (src/ring/rx.h), in_give, ins_give,
 * in_give_quiet, in_open (in.c); node_sleep, node_wake, node_sleeps_on (wait.c); the door of both.
 *
 * Abstracted: a ring of CAP units, messages of one unit or two (bit i of LARGE: message i has two),
 * written and published in one step. What was received is committed at once, but freed some time
 * later (the lag), at the latest when the ring is found empty; or it is held until the receiver
 * sleeps (HOLD). EVENT: the sender does not wait, but sleeps in poll() for TRAM_EVENT_SPACE.
 * ELSEWHERE: the receiver may begin to wait for space of its own, for ever. No re-look, but for a
 * sender whose receiver has died for good (SUCCESSOR=0 RELOOK=1).
 *
 * check: MSGS=2 LARGE=2
 * check: MSGS=2 LARGE=1 DDEATHS=1
 * check: MSGS=3 EVENT=1
 * check: MSGS=3 HOLD=1
 * soak: MSGS=2 LARGE=1 DDEATHS=1 SUCCESSOR=0 RELOOK=1
 * soak: MSGS=3 ELSEWHERE=1
 * soak: MSGS=3 LARGE=2 DDEATHS=1
 * soak: MSGS=3 LARGE=2 SDEATHS=1 HOLD=1
 * soak: MSGS=3 LARGE=2 SDEATHS=1 EVENT=1
 * soak: MSGS=3 DDEATHS=2 EVENT=1
 * soak: MSGS=4 LARGE=4
 * soak: MSGS=2 LARGE=2 SDEATHS=1 DDEATHS=1
 */
#include "model.h"

#define NO_F3        (broken == 1)  /* no_lost_space: want and head without fence F3 */
#define NO_F4        (broken == 2)  /* no_lost_space: head and want without fence F4 */
#define NO_D1        (broken == 3)  /* no_lost_wakeup: bit and asleep without fence D1 */
#define NO_D2        (broken == 4)  /* no_lost_space: asleep and bits without fence D2 */
#define SAME_WANT    (broken == 5)  /* no_lost_space, MSGS=3 LARGE=6:
        a wait does not raise the epoch */
#define NO_LOOK      (broken == 6)  /* no_lost_space: the head is not looked at after want */
#define NO_BITS      (broken == 7)  /* no_lost_space: the bits are not looked at after asleep */
#define NEVER_RINGS  (broken == 8)  /* no_lost_space: freed space is not told */
#define MUTE         (broken == 9)  /* no_lost_space, MSGS=2 LARGE=1 DDEATHS=1:
        a receiver that opens does not give */
#define KEEPS        (broken == 10) /* no_lost_space, MSGS=3 LARGE=0 ELSEWHERE=1:
        it waits with what it consumed */
#define QUIET_KEEPS  (broken == 11) /* no_lost_space, MSGS=3 LARGE=0 HOLD=1:
        a quiet ring is not given at a release */
#define SLEEPS_FULL  (broken == 12) /* no_lost_space, MSGS=3 LARGE=0:
        it sleeps with what it consumed */
#define NO_RELOOK    (broken == 13) /* no_lost_space, MSGS=2 LARGE=1 DDEATHS=1 SUCCESSOR=0 RELOOK=1:
        no look each second */
#define WANTS_ONCE   (broken == 14) /* no_lost_space, MSGS=3 LARGE=0 EVENT=1:
        knocked in vain, no new want */
#define NO_F2        (broken == 15) /* no_lost_wakeup: armed and tail without fence F2 */
/* And what is not needed: these must not fail. */
#define NO_UNWANT    (broken == 16) /* nothing: want stays on when there is space */

byte MSGS, LARGE, HOLD, EVENT, ELSEWHERE, SUCCESSOR, RELOOK;
byte sdeaths, ddeaths;
bit kill[2];                /* 0: the sender, 1: the receiver */
bit dead;                   /* the receiver, for good */

#define CAP 2

byte sent;                  /* messages accepted */
byte a, a_rung;             /* of the sender: the armed word that it looked at, and rang for */
byte w, w_rung;             /* of the receiver: the want word, likewise */
byte tail, tail_m;          /* units */
byte want, want_m;          /* epoch * 2 + ON; see RAISE */
byte head, head_m;          /* freed */
byte committed;             /* journalled */
byte armed, armed_m;
bit asleep[2], asleep_m[2]; /* doors: 0: the sender's, 1: the receiver's */
bit knock[2];               /* a knock at this door, on its way */
bit bits[2], bell[2];
bit waits;                  /* the sender does, in poll() */

bit no_lost_space = 1;
bit no_lost_wakeup = 1;

#define ON(a) ((a) & 1)
#define SIZE(i) (1 + ((LARGE >> (i)) & 1))

inline sender_fence() {
    tail_m = tail;
    want_m = want;
    asleep_m[0] = asleep[0];
    bits[1] = bits[1] | knock[1];
    knock[1] = 0
}

inline receiver_fence() {
    head_m = head;
    armed_m = armed;
    asleep_m[1] = asleep[1];
    bits[0] = bits[0] | knock[0];
    knock[0] = 0
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
#define IN_USE(word, e, eye, acted)                                                                \
    (word >> 1 == (e) || word##_m >> 1 == (e) || eye >> 1 == (e) || acted >> 1 == (e))

#define RAISE(word, eye, acted)                                                                    \
    if                                                                                             \
    :: acted != word && acted != word##_m -> acted = 0                                             \
    :: else                                                                                        \
    fi;                                                                                            \
    if                                                                                             \
    :: !IN_USE(word, 1, eye, acted) -> word = 3                                                    \
    :: IN_USE(word, 1, eye, acted) && !IN_USE(word, 2, eye, acted) -> word = 5                     \
    :: IN_USE(word, 1, eye, acted) && IN_USE(word, 2, eye, acted) &&                               \
       !IN_USE(word, 3, eye, acted) -> word = 7                                                    \
    :: else -> word = 9                                                                            \
    fi

#define FITS (tail + SIZE(sent) <= freed + CAP)

proctype sender() {
    byte seen, freed;
    bit lit, again, blocked;

life:
    {
        STEP {
            if
            :: again -> sender_fence(); goto look /* outs_resume; F1 */
            :: else
            fi
        };
send:
        STEP {
            if
            :: sent == MSGS -> goto done
            :: else
            fi
        };

room: /* out_room; ring_tx_publish and F1 */
        STEP {
            freed = head_m;
            if
            :: FITS ->
                UNLESS(!ON(want) || NO_UNWANT, want = want & 254);
                blocked = 0; seen = 0; tail = tail + SIZE(sent); sent++; freed = 0;
                sender_fence();
                goto look
            :: else -> seen = freed; freed = 0
            fi
        };
        STEP { /* wait_for_space, ring_tx_want */
            if
            :: SAME_WANT -> want = 3
            :: else -> RAISE(want, w, w_rung)
            fi;
            UNLESS(NO_F3, sender_fence())
        };
        STEP {
            if
            :: !NO_LOOK && head_m != seen -> goto room
            :: else -> blocked = EVENT
            fi
        };

sleep: /* node_sleep */
        STEP {
            if
            :: lit -> bell[0] = 0; lit = 0
            :: else
            fi;
            asleep[0] = 1;
            UNLESS(NO_D2, sender_fence())
        };
        STEP {
            if
            :: bits[0] && !NO_BITS -> goto wake
            :: else -> waits = 1
            fi
        };

poll:
        STEP {
            if
            :: bell[0] ->
                if
                :: EVENT -> bell[0] = 0 /* node_sleeps_on */
                :: else -> waits = 0; lit = 1; goto wake
                fi
            :: RELOOK && !NO_RELOOK && dead && head_m != seen -> waits = 0; goto wake
            fi
        };
        STEP {
            if
            :: bits[0] -> waits = 0
            :: else -> goto poll
            fi
        };

wake: /* node_wake */
        STEP {
            asleep[0] = 0;
            asleep_m[0] = 0;
            if
            :: bits[0] -> sender_fence(); bits[0] = 0
            :: else
            fi;
            if
            :: !blocked -> goto room
            :: else
            fi
        };
        STEP { /* out_knocked */
            if
            :: head_m + CAP > tail -> want = want & 254; blocked = 0; goto room
            :: WANTS_ONCE && head_m + CAP <= tail -> goto sleep
            :: else -> goto room
            fi
        };

look: /* ring_tx_must_ring */
        STEP {
            a = armed_m;
            if
            :: ON(a) && a != a_rung -> a_rung = a
            :: else -> a = 0; goto send
            fi
        };
        STEP { knock[1] = 1; UNLESS(NO_D1, sender_fence()) };
        STEP {
            a = 0;
            if
            :: asleep_m[1]
            :: else -> goto send
            fi
        };
        STEP { bell[1] = 1; goto send };
done:
        false
    } unless {
        STEP {
            kill[0];
            kill[0] = 0;
            sender_fence();
            again = 1;
            seen = 0; freed = 0; a = 0; a_rung = 0; lit = 0; blocked = 0; waits = 0;
            asleep[0] = 0; asleep_m[0] = 0; bell[0] = 0; bits[0] = 0; /* open_door */
            goto life
        }
    }
}

/* ring_rx_free, in_give. */
#define GIVE                                                                                       \
    STEP {                                                                                         \
        head = committed;                                                                          \
        UNLESS(NO_F4, receiver_fence())                                                            \
    };                                                                                             \
    STEP { w = want_m };                                                                           \
    if                                                                                             \
    :: ON(w) && w != w_rung && !NEVER_RINGS ->                                                     \
        STEP { w_rung = w; w = 0; knock[0] = 1; UNLESS(NO_D1, receiver_fence()) };                 \
        if                                                                                         \
        :: asleep_m[0] -> bell[0] = 1                                                              \
        :: else                                                                                    \
        fi                                                                                         \
    :: else -> w = 0                                                                               \
    fi

#define READY (tail_m > pos)

proctype receiver() {
    byte pos;
    bit hot, lit;

life:
    {
        STEP { asleep[1] = 0; asleep_m[1] = 0; bell[1] = 0 }; /* open_door */
        STEP { bits[1] = 0; pos = committed };
        STEP { /* in_open */
            armed = armed & 254;
            hot = 1;
            receiver_fence();
            if
            :: MUTE -> head = committed; w_rung = want_m; goto look
            :: else
            fi
        };
        GIVE;

look:
        STEP {
            if
            :: hot && READY ->
                pos++;
                UNLESS(HOLD, committed = pos);
                if /* freed now, or later */
                :: committed != head
                :: goto look
                fi
            :: bits[1] -> goto wake
            :: !(hot && READY) && !bits[1] -> goto rest
            :: ELSEWHERE -> goto elsewhere
            fi
        };
        GIVE;
        goto look;

rest: /* in_ready, ins_give */
        if
        :: committed != head && !SLEEPS_FULL -> GIVE
        :: else
        fi;
        STEP { /* arm_all */
            if
            :: hot -> RAISE(armed, a, a_rung); UNLESS(NO_F2, receiver_fence())
            :: else -> goto sleep
            fi
        };
        STEP {
            if
            :: READY -> armed = armed & 254; goto wake
            :: else -> hot = 0
            fi
        };
sleep: /* node_sleep; D2 */
        STEP {
            if
            :: lit -> bell[1] = 0; lit = 0
            :: else
            fi;
            asleep[1] = 1;
            receiver_fence()
        };
        STEP {
            if
            :: bits[1] -> goto wake
            :: else
            fi;
            if
            :: pos != committed -> committed = pos /* what was held is released */
            :: else -> goto poll
            fi
        };
        if
        :: QUIET_KEEPS
        :: else -> GIVE
        fi;

poll:
        STEP { bell[1] -> lit = 1 };

wake:
        STEP {
            asleep[1] = 0;
            asleep_m[1] = 0;
            if
            :: bits[1] ->
                receiver_fence();
                bits[1] = 0;
                armed = armed & 254; armed_m = armed;
                hot = 1
            :: else
            fi;
            goto look
        };

elsewhere: /* wait_for_space, of another ring */
        if
        :: committed != head && !KEEPS -> GIVE
        :: else
        fi;
        false
    } unless {
        STEP {
            kill[1];
            kill[1] = 0;
            receiver_fence();
            pos = 0; w = 0; w_rung = 0; hot = 0; lit = 0;
            if
            :: SUCCESSOR -> goto life
            :: else -> dead = 1
            fi
        }
    }
}

proctype memory() {
    do
    :: d_step { tail_m != tail -> tail_m = tail }
    :: d_step { want_m != want -> want_m = want }
    :: d_step { head_m != head -> head_m = head }
    :: d_step { armed_m != armed -> armed_m = armed }
    :: d_step { asleep_m[0] != asleep[0] -> asleep_m[0] = asleep[0] }
    :: d_step { asleep_m[1] != asleep[1] -> asleep_m[1] = asleep[1] }
    :: d_step { knock[0] -> knock[0] = 0; bits[0] = 1 }
    :: d_step { knock[1] -> knock[1] = 0; bits[1] = 1 }
    od
}

proctype reaper() {
    do
    :: d_step { sdeaths > 0 && !kill[0] -> sdeaths--; kill[0] = 1 }
    :: d_step { ddeaths > 0 && !dead && !kill[1] -> ddeaths--; kill[1] = 1 }
    :: d_step { sdeaths > 0 || ddeaths > 0 -> sdeaths = 0; ddeaths = 0 }
    :: sdeaths == 0 && ddeaths == 0 -> break
    od
}

/* What is committed is given to who waits for it; and what is sent is received, while there is
 * somebody to receive it. */
proctype judge() {
    timeout;
    MUST(no_lost_space, !waits || tail + SIZE(sent) > (dead -> head : committed) + CAP);
    MUST(no_lost_wakeup, dead || ELSEWHERE || (sent == MSGS && committed == tail))
}

init {
    d_step {
        c_code {
            now.broken = world("BROKEN", 0);
            now.MSGS = world("MSGS", 3);
            now.LARGE = world("LARGE", 0);
            now.HOLD = world("HOLD", 0);
            now.EVENT = world("EVENT", 0);
            now.ELSEWHERE = world("ELSEWHERE", 0);
            now.SUCCESSOR = world("SUCCESSOR", 1);
            now.RELOOK = world("RELOOK", 0);
            now.sdeaths = world("SDEATHS", 0);
            now.ddeaths = world("DDEATHS", 0);
        }
    };
    atomic {
        run memory(); run sender(); run receiver(); run reaper(); run judge()
    }
}
