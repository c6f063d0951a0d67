/* SPDX-License-Identifier: MIT
 *
 * The published names, and the orders that processes and other hosts say of them.
 */
#include "daemon/daemon.h"

#include "harness.h"

TEST(published_in_order) {
    static struct table table;
    struct entry entries[4] = { 0 };

    table_show(&table, &entries[0], 20);
    table_show(&table, &entries[1], 10);
    table_show(&table, &entries[2], 0);  /* the newest */
    table_show(&table, &entries[3], 10); /* there is one already: the newest */
    CHECK_EQ(entries[2].order, 21);
    CHECK_EQ(entries[3].order, 22);
    CHECK(table.first == &entries[1] && entries[1].next == &entries[0]);
    CHECK(entries[0].next == &entries[2] && table.last == &entries[3]);
    for (int i = 0; i < 4; i++)
        table_hide(&table, &entries[i]);
    CHECK(!table.first && !table.last);
}

/* Behind it there would be 0, which says that it isn't published: it would never be taken out. */
TEST(an_order_has_a_next_one) {
    static struct table table;
    struct entry entries[4] = { 0 };

    table_show(&table, &entries[0], UINT64_MAX);
    table_show(&table, &entries[1], UINT64_MAX);
    table_show(&table, &entries[2], TABLE_ORDER_MAX);
    table_show(&table, &entries[3], 0);
    for (int i = 0; i < 4; i++) {
        CHECK(entries[i].order > 0 && entries[i].order <= TABLE_ORDER_MAX + 1);
        table_hide(&table, &entries[i]);
    }
    CHECK(!table.first && !table.last);
}
