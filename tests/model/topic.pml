/* SPDX-License-Identifier: MIT
 *
 * The ring of events: one writer, one reader that sleeps; granted, or one that copies.
 *
 * Code: topic_tx_publish, topic_tx_make_room, topic_tx_want, topic_tx_init, topic_rx_look, peek,
 * topic_rx_next, topic_rx_intact, topic_rx_done, topic_rx_arm (src/topic); wake, must_wake,
 * make_room, wake_slowest, is_ample, ring_moved (src/service/publish_ring.c); turn, turn_all,
 * feed_done, sleep_on (feed.c).
 *
 * Abstracted: a ring of CAP events, each of one unit and two words (header, body), both of which
 * hold its number; the floor moves by one. NEWS is a message of the bus, whose own bells are
 * wake.pml: `mail` that is there, and wakes. Bit i of OTHERS: event i is not for this reader, which
 * is not woken for it. AMPLE: so many units of room are worth a bell. MORE: events may be staged.
 * Who dies is replaced, the reader only if SUCCESSOR. A death is told to the other side by the end
 * of its session, or found by the writer's patience: one more look (r_look, w_look), the only
 * repair. CUT: patience may be over while the reader lives, and it is cut off. The reader's number
 * is not there, for it is its position.
 *
 * check: GRANTED=0 MSGS=3
 * check: GRANTED=0 MSGS=2 WDEATHS=1
 * check: GRANTED=1 MSGS=3
 * check: GRANTED=1 MSGS=3 OTHERS=3
 * soak: GRANTED=0 MSGS=4
 * soak: GRANTED=0 MSGS=4 MORE=1
 * soak: GRANTED=0 MSGS=3 WDEATHS=1 RDEATHS=1
 * soak: GRANTED=0 MSGS=3 OTHERS=5 WDEATHS=1
 * soak: GRANTED=1 MSGS=4 AMPLE=2
 * soak: GRANTED=1 MSGS=4 MORE=1
 * soak: GRANTED=1 MSGS=4 OTHERS=10 AMPLE=2
 * soak: GRANTED=1 MSGS=3 WDEATHS=1
 * soak: GRANTED=1 MSGS=3 RDEATHS=1
 * soak: GRANTED=1 MSGS=3 WDEATHS=1 RDEATHS=1
 * soak: GRANTED=1 MSGS=3 OTHERS=3 WDEATHS=1 RDEATHS=1
 * soak: GRANTED=1 MSGS=4 RDEATHS=1 SUCCESSOR=0
 * soak: GRANTED=1 MSGS=4 CUT=1
 * soak: GRANTED=1 MSGS=4 CUT=1 RDEATHS=1
 */
#include "model.h"

#define NO_F1        (broken == 1)  /* no_lost_wakeup: tail and armed without fence F1 */
#define NO_F2        (broken == 2)  /* no_lost_wakeup: armed and tail without fence F2 */
#define NO_EPOCH     (broken == 3)  /* no_lost_wakeup: arming does not raise the epoch */
#define NO_LOOK      (broken == 4)  /* no_lost_wakeup: the tail is not looked at after armed */
#define NO_R_LOOK    (broken == 5)  /* no_lost_wakeup, MSGS=2 WDEATHS=1:
        no look after the writer's death */
#define FORGETS      (broken == 6)  /* no_lost_wakeup, OTHERS=4 MORE=1:
        only the last event that is new is compared */
#define NO_F3        (broken == 7)  /* no_lost_space, GRANTED=1: want and position without F3 */
#define NO_F4        (broken == 8)  /* no_lost_space, GRANTED=1: position and want without F4 */
#define SAME_WANT    (broken == 9)  /* no_lost_space, GRANTED=1 MSGS=4:
        a wait does not raise the epoch */
#define NO_W_LOOK    (broken == 10) /* no_lost_space, GRANTED=1:
        positions are not looked at after want */
#define NEVER_RINGS  (broken == 11) /* no_lost_space, GRANTED=1: what is read is not told */
#define NO_W_RELOOK  (broken == 12) /* no_lost_space, GRANTED=1 RDEATHS=1: no patience */
#define LETS_SLEEP   (broken == 13) /* no_lost_space, GRANTED=1 OTHERS=3:
        who is in the way and sleeps is not woken */
#define NO_L1        (broken == 14) /* no_torn: floor and data without fence L1 */
#define NO_L2        (broken == 15) /* no_torn: the floor is loaded before the copy is made */
#define FLOOR_LATE   (broken == 16) /* no_torn: the floor is stored after the data */
#define NO_T1        (broken == 17) /* no_torn: the tail may be seen before the data */
#define GIVES_EARLY  (broken == 18) /* in_place, GRANTED=1: a position is stored before the look */
#define NO_LIMIT     (broken == 19) /* in_place, GRANTED=1: the floor goes beyond the position */
#define NO_PUBLISH   (broken == 20) /* no_nonsense, MSGS=4 MORE=1: the floor goes beyond the tail */
#define NO_SLOT      (broken == 21) /* no_gap, MSGS=2 WDEATHS=1: the number has one slot */
/* And what is not needed: these must not fail. */
#define NO_UNWANT    (broken == 22) /* nothing, GRANTED=1: want stays on when there is room */
#define NO_L3        (broken == 23) /* nothing, MSGS=4 MORE=1 SOAK=1:
        the floor is stored without release (F1 is there) */
#define AMPLE_ONLY   (broken == 24) /* nothing, GRANTED=1 AMPLE=2:
        no bell for less than ample room, though nothing is left to read */

byte GRANTED, MSGS, OTHERS, AMPLE, MORE, CUT, SUCCESSOR;
byte wdeaths, rdeaths;
bit kill[2];              /* 0: the writer, 1: the reader */
bit r_look, w_look;       /* the other's death is still to be noticed by the reader, the writer */

#define CAP 2

byte d[4], d_m[4];        /* header and body of each place */
byte tail, tail_m;        /* position * 2 + slot */
byte floor, floor_m;
byte want, want_m;        /* epoch * 2 + ON; see RAISE */
byte position, position_m;
byte armed, armed_m;
byte count[2];            /* for a successor only */
bit mail_r, mail_w;       /* to the reader, to the writer */

byte pos, number;         /* of the writer: staged */
byte looked;              /* by wake(): news are from here on */
byte a, a_rung;           /* of the writer: the armed word that it looked at, and rang for */
byte at;                  /* of the reader */
byte w, w_rung;           /* of the reader: the want word, likewise */
bit cut, dead, gone;      /* the reader: cut off; dead for good; and that is known */

bit no_lost_wakeup = 1;
bit no_lost_space = 1;
bit no_torn = 1;
bit in_place = 1;
bit no_nonsense = 1;
bit no_gap = 1;

#define ON(a) ((a) & 1)
#define AT(tail) ((tail) >> 1)
#define WANTED(i) (!((OTHERS >> (i)) & 1))
/* Of the events from one position to another, four at most. */
#define ANY(from, to) ((from <= 0 && 0 < to && WANTED(0)) || (from <= 1 && 1 < to && WANTED(1)) || \
                       (from <= 2 && 2 < to && WANTED(2)) || (from <= 3 && 3 < to && WANTED(3)))

#define DATA_SEEN (d_m[0] == d[0] && d_m[1] == d[1] && d_m[2] == d[2] && d_m[3] == d[3])

inline data_seen() {
    d_m[0] = d[0]; d_m[1] = d[1]; d_m[2] = d[2]; d_m[3] = d[3]
}

inline writer_fence() {
    data_seen();
    tail_m = tail;
    floor_m = floor;
    want_m = want
}

inline reader_fence() {
    position_m = position;
    armed_m = armed
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

/* topic_tx_publish. */
#define PUBLISH                                                                                    \
    STEP { count[(NO_SLOT -> 0 : 1 - (tail & 1))] = number };                                      \
    STEP {                                                                                         \
        tail = pos * 2 + 1 - (tail & 1);                                                           \
        UNLESS(NO_F1 || NO_T1, writer_fence())                                                     \
    };                                                                                             \
    STEP { UNLESS(NO_F1, writer_fence()) }

#define NEWS (FORGETS -> WANTED(AT(tail) - 1) : ANY(looked, AT(tail)))

/* ring_publish: and wake. */
#define PUBLISH_AND_WAKE                                                                           \
    PUBLISH;                                                                                       \
    STEP {                                                                                         \
        a = armed_m;                                                                               \
        if                                                                                         \
        :: ON(a) && a != a_rung && NEWS && !cut && !gone -> a_rung = a                             \
        :: else -> a = 0                                                                           \
        fi;                                                                                        \
        looked = AT(tail)                                                                          \
    };                                                                                             \
    if                                                                                             \
    :: a -> STEP { mail_r = 1; a = 0 }                                                             \
    :: else                                                                                        \
    fi

#define FREE (!GRANTED || cut || gone || NO_LIMIT) /* nobody is in the way */
#define IS_AMPLE (!held || FREE || limit >= AT(tail) || limit >= floor + AMPLE)
#define MAKES (IS_AMPLE && (FREE || pos + 1 <= limit + CAP))

proctype writer() {
    byte limit;
    bit held, late;

life:
    {
        STEP { /* topic_tx_init */
            writer_fence();
            number = count[(NO_SLOT -> 0 : tail & 1)];
            pos = AT(tail);
            looked = pos;
            want = want & 254;
            MUST(no_gap, number == pos)
        };
send:
        STEP {
            if
            :: pos == MSGS -> goto done
            :: pos < MSGS && pos + 1 <= floor + CAP -> goto write
            :: else
            fi
        };
room: /* make_room */
        STEP {
            limit = position_m;
            if
            :: MAKES -> goto move
            :: else
            fi
        };
        if
        :: pos != AT(tail) -> PUBLISH_AND_WAKE
        :: else
        fi;
        STEP { /* topic_tx_want */
            if
            :: SAME_WANT -> want = 3
            :: else -> RAISE(want, w, w_rung)
            fi;
            UNLESS(NO_F3, writer_fence())
        };
        STEP {
            limit = position_m;
            if
            :: MAKES && !NO_W_LOOK -> goto move
            :: else -> held = 1
            fi
        };
        STEP { /* wake_slowest */
            a = armed_m;
            if
            :: ON(a) && a != a_rung && !LETS_SLEEP -> a_rung = a
            :: else -> a = 0; goto hold
            fi
        };
        STEP { mail_r = 1; a = 0 };
hold:
        STEP {
            limit = 0;
            if
            :: mail_w -> mail_w = 0
            :: w_look && !NO_W_RELOOK -> w_look = 0; gone = dead; goto room
            :: CUT && !cut -> cut = 1; goto room
            fi
        };
        STEP { /* ring_moved */
            limit = position_m;
            if
            :: ON(want) && !IS_AMPLE -> RAISE(want, w, w_rung); UNLESS(NO_F3, writer_fence())
            :: else -> goto room
            fi
        };
        STEP {
            limit = position_m;
            if
            :: IS_AMPLE -> goto room
            :: else -> goto hold
            fi
        };
move: /* topic_tx_make_room */
        if
        :: pos + 1 - CAP > AT(tail) && !NO_PUBLISH -> PUBLISH
        :: else
        fi;
        STEP { /* L3; L1 is in memory() */
            limit = 0;
            held = 0;
            UNLESS(!ON(want) || NO_UNWANT, want = want & 254);
            if
            :: FLOOR_LATE -> late = 1
            :: else ->
                if
                :: NO_L3 || NO_PUBLISH
                :: else -> floor_m = floor; data_seen(); tail_m = tail
                fi;
                floor = pos + 1 - CAP
            fi
        };
write:
        STEP { d[2 * (pos % CAP)] = pos + 1 };
        STEP { d[2 * (pos % CAP) + 1] = pos + 1; pos++; number++ };
        STEP {
            if
            :: late -> floor = pos - CAP; late = 0
            :: else
            fi;
            if
            :: MORE && pos < MSGS -> goto send
            :: skip
            fi
        };
        PUBLISH_AND_WAKE;
        goto send;
done:
        false
    } unless {
        STEP {
            kill[0];
            kill[0] = 0;
            writer_fence();
            limit = 0; held = 0; late = 0; a = 0; a_rung = 0; mail_w = 0;
            r_look = !NO_R_LOOK;
            goto life
        }
    }
}

proctype reader() {
    byte rtail, head, body, floor_seen;

life:
    {
        at = position; /* topic_rx_init */
turn:
        STEP {
            rtail = AT(tail_m);
            if
            :: at == rtail -> goto rest
            :: else
            fi
        };
copy: /* peek */
        STEP {
            if
            :: NO_L2 -> floor_seen = floor_m
            :: else
            fi;
            if
            :: GIVES_EARLY && GRANTED -> position = at + 1
            :: else
            fi
        };
        STEP { head = d_m[2 * (at % CAP)] };
        STEP { /* L2 */
            UNLESS(NO_L2, floor_seen = floor_m);
            if
            :: floor_seen > at -> goto lapped
            :: else -> MUST(no_torn, head == at + 1)
            fi
        };
        STEP { body = d_m[2 * (at % CAP) + 1] };
        STEP { /* L2 */
            UNLESS(NO_L2, floor_seen = floor_m);
            if
            :: floor_seen > at -> goto lapped
            :: else -> MUST(no_torn, body == at + 1)
            fi;
            head = 0; body = 0; floor_seen = 0;
            at++;
            if
            :: !GRANTED ->
                if
                :: at == rtail -> goto turn
                :: else -> goto copy
                fi
            :: GRANTED && at != rtail -> goto copy
            :: GRANTED /* at the end, or of a turn */
            fi
        };
        STEP { /* topic_rx_done */
            position = at;
            UNLESS(NO_F4, reader_fence())
        };
        STEP {
            w = want_m;
            if
            :: !ON(w) || w == w_rung || NEVER_RINGS -> w = 0; goto turn
            :: else
            fi
        };
        STEP {
            if
            :: (at != rtail || AMPLE_ONLY) && at < floor_m + AMPLE -> w = 0; goto turn
            :: else -> w_rung = w
            fi
        };
        STEP { mail_w = 1; w = 0; goto turn };

lapped:
        STEP {
            head = 0; body = 0;
            MUST(in_place, !GRANTED || cut);
            if
            :: GRANTED -> goto ended
            :: else -> floor_seen = floor_m /* L3 */
            fi
        };
        STEP {
            rtail = AT(tail_m);
            MUST(no_nonsense, floor_seen <= rtail);
            at = floor_seen;
            floor_seen = 0;
            if
            :: at == rtail -> goto turn
            :: else -> goto copy
            fi
        };

rest: /* sleep_on */
        STEP {
            if
            :: NO_EPOCH -> armed = 3
            :: else -> RAISE(armed, a, a_rung)
            fi;
            UNLESS(NO_F2, reader_fence())
        };
        STEP {
            if
            :: AT(tail_m) != at && !NO_LOOK -> armed = armed & 254; goto turn
            :: else
            fi
        };
        STEP {
            if
            :: mail_r -> mail_r = 0
            :: r_look -> r_look = 0
            fi;
            armed = armed & 254;
            goto turn
        };
ended:
        cut = 1;
        false
    } unless {
        STEP {
            kill[1];
            kill[1] = 0;
            reader_fence();
            rtail = 0; head = 0; body = 0; floor_seen = 0; w = 0; w_rung = 0; mail_r = 0;
            w_look = 1;
            if
            :: SUCCESSOR -> goto life
            :: else -> dead = 1
            fi
        }
    }
}

#define MAY_BE_SEEN(i) (d_m[i] != d[i] && (NO_L1 || floor_m == floor)) /* L1 */

proctype memory() {
    do
    :: d_step { MAY_BE_SEEN(0) -> d_m[0] = d[0] }
    :: d_step { MAY_BE_SEEN(1) -> d_m[1] = d[1] }
    :: d_step { MAY_BE_SEEN(2) -> d_m[2] = d[2] }
    :: d_step { MAY_BE_SEEN(3) -> d_m[3] = d[3] }
    :: d_step { tail_m != tail && (NO_T1 || DATA_SEEN) -> tail_m = tail } /* T1 */
    :: d_step { floor_m != floor -> floor_m = floor }
    :: d_step { want_m != want -> want_m = want }
    :: d_step { position_m != position -> position_m = position }
    :: d_step { armed_m != armed -> armed_m = armed }
    od
}

proctype reaper() {
    do
    :: d_step { wdeaths > 0 && !kill[0] -> wdeaths--; kill[0] = 1 }
    :: d_step { rdeaths > 0 && !dead && !kill[1] -> rdeaths--; kill[1] = 1 }
    :: d_step { wdeaths > 0 || rdeaths > 0 -> wdeaths = 0; rdeaths = 0 }
    :: wdeaths == 0 && rdeaths == 0 -> break
    od
}

/* All is published, and all that is for the reader has been read. */
proctype judge() {
    timeout;
    MUST(no_lost_space, pos == MSGS);
    MUST(no_lost_wakeup, cut || dead || !ANY(at, AT(tail)))
}

init {
    d_step {
        c_code {
            now.broken = world("BROKEN", 0);
            now.GRANTED = world("GRANTED", 0);
            now.MSGS = world("MSGS", 3);
            now.OTHERS = world("OTHERS", 0);
            now.AMPLE = world("AMPLE", 1);
            now.MORE = world("MORE", 0);
            now.CUT = world("CUT", 0);
            now.SUCCESSOR = world("SUCCESSOR", 1);
            now.wdeaths = world("WDEATHS", 0);
            now.rdeaths = world("RDEATHS", 0);
        }
    };
    atomic {
        run memory(); run writer(); run reader(); run reaper(); run judge()
    }
}
