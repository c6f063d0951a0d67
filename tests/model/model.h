/* SPDX-License-Identifier: MIT
 *
 * What the models share. Each takes its world (how many messages, deaths …) and which rule is
 * broken from the environment when it starts, so that one compilation checks all of them;
 * tests/model_test.py reads from the model's own comments what worlds and rules there are.
 *
 * Memory. A word that one process writes is there twice: as its writer last stored it (`word`), and
 * as everybody else sees it (`word_m`). A store changes the first, and process `memory` brings it
 * to the second at some later time, each word on its own, in any order; a fence of the writer does
 * it at once. So a store may be delayed past any later load and store of its process, unless
 * something orders them: what x86-TSO allows (a store buffer), and of C11 what relaxed stores
 * allow. A read-modify-write whose result is not used is delayed in the same way (it is a store on
 * processors with exclusive loads); one whose result is used is made at once. A release store waits
 * for what was stored before it. Two stores to one word may be seen as one, the later. Loads are
 * not delayed: what an acquire on the other side is for is not seen here. A process that is killed
 * has stored what it stored: the kernel sees to that before anybody gets its lock.
 *
 * Death. Process `reaper` sets `kill` of a victim, at any time; the victim's next step is to leave
 * what it does (`unless`) and to begin anew as its successor, or to end.
 *
 * Properties. MUST(name, condition) fails as "assertion violated name": so a test can tell what was
 * broken from what was meant to be. What must hold in the end is asked when nothing moves any more
 * (`timeout`), by process `judge`.
 *
 * A trap of spin's: a[f(a)] = x, where the index depends on what is changed, is undone at another
 * index, for that is found anew. So no such assignment.
 */
c_code {
    static int world(const char *name, int otherwise) {
        const char *text = getenv(name);

        return text ? atoi(text) : otherwise;
    }
}

byte broken; /* which rule; 0: none */

#define MUST(name, condition)                                                                      \
    if                                                                                             \
    :: (condition)                                                                                 \
    :: else -> name = 0; assert(name)                                                              \
    fi
