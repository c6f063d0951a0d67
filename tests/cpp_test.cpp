/* SPDX-License-Identifier: MIT
 * test: timeout=60 link=shared
 *
 * tram.hpp, feature by feature. Compiled without exceptions and RTTI, as C++17 and as C++20.
 */
#include <tram/tram.hpp>

#include <array>
#include <poll.h>
#include <string>
#include <type_traits>
#include <unistd.h>
#include <unordered_set>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif

#include "harness.h"
#include "support/kit.h"

using namespace tram::literals;
using namespace std::chrono_literals;

namespace {

constexpr tram::id left_id = "1.0.0.1"_id, right_id = "1.0.0.2"_id, third_id = "1.0.0.3"_id;

tram::options small() {
    return tram::options().ring_size(65536).ring_max(65536);
}

tram::node open(tram::id id, const tram::options &options = {}) {
    auto opened = tram::node::open(id, options);

    if (!opened)
        FAIL("open: %s", opened.text());
    return *std::move(opened);
}

/* The next message's text, or what went wrong. */
std::string next(tram::node &node, tram::timeout timeout = tram::at_once) {
    auto got = node.recv(timeout);

    return got ? std::string(got->text()) : "error " + std::to_string(got.code());
}

} // namespace

/* ---- values --------------------------------------------------------------------------------- */

static_assert(left_id == tram::id(1, 0, 0, 1) && left_id.value() == 0x01000001);
static_assert(tram::id::parse("255.255.255.254").valid() && tram::id::parse("1.2.3.4") != left_id);
static_assert(tram::ephemeral.value() == TRAM_EPHEMERAL && left_id < right_id);
static_assert(tram::timeout(1s).ns() == 1000000000 && tram::timeout(-1ns).ns() == 0);
static_assert(tram::timeout(std::chrono::duration<double>(1e-10)).ns() == 1);
static_assert(tram::timeout(std::chrono::hours::max()).ns() == TRAM_FOREVER);
static_assert(tram::timeout(std::chrono::duration<double>(1e300)).ns() == TRAM_FOREVER);
static_assert(tram::timeout(std::chrono::seconds::min()).ns() == 0);

template <class T>
constexpr bool moves_only =
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
    !std::is_copy_constructible_v<T>;
static_assert(moves_only<tram::node> && moves_only<tram::claimed> && moves_only<tram::held>);
static_assert(moves_only<tram::result<tram::node>>);
static_assert(std::is_trivially_copyable_v<tram::status> && sizeof(tram::status) == 16);
static_assert(std::is_trivially_copyable_v<tram::message>);
static_assert(std::is_trivially_copyable_v<tram::bytes>);
static_assert(sizeof(tram::node) == sizeof(void *));
static_assert(!std::is_convertible_v<std::vector<std::string>, tram::bytes>); /* not plain values */
static_assert(!std::is_constructible_v<tram::bytes, char (&)[4]>);
static_assert(!std::is_convertible_v<const std::vector<char> &, tram::writable_bytes>);

TEST(ids) {
    const char *const wrong[] = { "",        "1",        "1.2.3",     "1.2.3.4.",  "1.2.3.256",
                                  "1.2.3.x", " 1.2.3.4", "1.2.3.4 ",  "0001.2.3.4", "0.0.0.0",
                                  "-1.2.3.4", "1..3.4",  "255.255.255.255" };
    std::unordered_set<tram::id> set;
    tram_id raw;

    for (const char *text : wrong) {
        CHECK(!tram::id::parse(text));
        CHECK(tram_id_parse(text, &raw) < 0);
    }
    CHECK_STR(tram::id::parse("10.20.30.40").text().c_str(), "10.20.30.40");
    set.insert(left_id);
    set.insert("1.0.0.1"_id);
    CHECK_EQ(set.size(), 1);
    CHECK(!tram::id());
}

/* ---- sending and receiving ------------------------------------------------------------------ */

TEST(whatever_has_bytes) {
    tram::node left = open(left_id), right = open(right_id);
    const std::uint32_t numbers[] = { 1, 2, 3 };
    std::vector<std::uint16_t> shorts = { 7, 8 };
    const std::vector<char> letters = { 'a', 'b' };

    CHECK(left.send(right_id, "literal"));
    CHECK(left.send(right_id, std::string("a string")));
    CHECK(left.send(right_id, std::string_view("with\0zero", 9)));
    CHECK(left.send(right_id, numbers));
    CHECK(left.send(right_id, shorts));
    CHECK(left.send(right_id, letters));
    CHECK(left.send(right_id, std::array<char, 2>{ 'x', 'y' }));
    CHECK(left.send(right_id, tram::bytes("cut here", 3)));
    CHECK(left.send(right_id, {}));
    CHECK(next(right) == "literal");
    CHECK(next(right) == "a string");
    CHECK(next(right) == std::string("with\0zero", 9));
    auto got = right.recv();
    CHECK_EQ(got->size(), sizeof numbers);
    CHECK_MEM(got->data().data(), numbers, sizeof numbers);
    CHECK_EQ(right.recv()->size(), 4);
    CHECK(next(right) == "ab");
    CHECK(next(right) == "xy");
    CHECK(next(right) == "cut");
    CHECK(next(right).empty());
#if __cplusplus >= 202002L
    CHECK(left.send(right_id, std::span(shorts)));
    CHECK(left.send(right_id, std::as_bytes(std::span(letters))));
    std::span<const std::byte> view = right.recv()->data();
    CHECK_EQ(view.size(), 4);
    CHECK(next(right) == "ab");
#endif
}

TEST(what_goes_with_a_message) {
    tram::node left = open(left_id, tram::options().stamp()), right = open(right_id);
    std::string header = "head", body = "body";
    tram::meta meta(77);

    meta.layer[3] = 9;
    CHECK(left.send(right_id, { header, "|", body, {} }, meta));
    CHECK(left.send(right_id, "x", tram::meta(5), 1s));
    CHECK(left.send(right_id, { "short", " form" }));
    CHECK(left.send(right_id, nullptr, 0, 6));
    auto got = right.recv();
    CHECK(got && got->text() == "head|body");
    CHECK_EQ(got->tag(), 77);
    CHECK_EQ(got->layer().size(), 16);
    CHECK(got->layer()[3] == std::byte{ 9 });
    CHECK(got->from() == left_id && got->seq() == 1 && got->stream() != 0);
    CHECK(got->attempt() == 1 && !got->again());
    auto age = std::chrono::system_clock::now() - *got->sent();
    CHECK(age > -1s && age < 60s);
    CHECK_EQ(right.recv()->tag(), 5);
    CHECK(next(right) == "short form");
    got = right.recv();
    CHECK(got->tag() == 6 && got->size() == 0);
    CHECK(right.send(left_id, "no stamp"));
    CHECK(!left.recv()->sent());
}

TEST(outcomes) {
    tram::node left = open(left_id, small()), right = open(right_id);
    tram::node none;
    tram::status status;
    static char big[70000];

    CHECK(status.ok() && status.code() == 0 && !status.error());
    CHECK_STR(status.text(), "no error");
    status = right.recv(tram::at_once).status();
    CHECK_EQ(status.code(), -EAGAIN);
    CHECK_STR(status.text(), strerror(EAGAIN));
    CHECK(!status.error());
    CHECK_EQ(right.recv(1ms).code(), -ETIMEDOUT);
    status = left.send(right_id, tram::bytes(big, sizeof big));
    CHECK_EQ(status.code(), -EMSGSIZE);
    CHECK(status.error() && status.error()->limit > 60000 && status.error()->limit < 65536);
    CHECK(strlen(status.text()) > 10);
    while ((status = left.send(right_id, tram::bytes(big, 5000), 0, tram::nowait)))
        continue;
    CHECK_EQ(status.code(), -EAGAIN);
    CHECK_EQ(left.send(right_id, tram::bytes(big, 5000), {}, 1ms).code(), -ETIMEDOUT);
    auto twice = tram::node::open(left_id);
    CHECK_EQ(twice.code(), -EADDRINUSE);
    CHECK_EQ(twice.error()->pid, getpid());
    CHECK(strstr(twice.text(), "1.0.0.1"));
    CHECK_EQ(tram::node::open("b/c", third_id).code(), -EINVAL);
    CHECK_EQ(tram::node::open(tram::id()).code(), -EINVAL);
    CHECK_EQ(none.send(right_id, "x").code(), -EINVAL);
    CHECK_EQ(none.recv().code(), -EINVAL);
    CHECK(!none && !none.self());
    for (auto &event : none.events())
        FAIL("event %d of no node", event.type);
}

TEST(batches) {
    tram::node left = open(left_id), right = open(right_id);
    tram::message messages[4];
    int sum = 0;

    for (std::uint32_t i = 1; i <= 10; i++)
        CHECK(left.send(right_id, "m", i));
    for (auto &message : right.recv_batch<4>()) {
        CHECK(message.text() == "m");
        sum += static_cast<int>(message.tag());
    }
    CHECK_EQ(sum, 10);
    auto some = right.recv_batch<64>();
    CHECK(some && some.size() == 6 && !some.empty());
    CHECK_EQ(some[5].tag(), 10);
    auto nothing = right.recv_batch<8>(tram::at_once);
    CHECK(!nothing && nothing.empty() && nothing.code() == -EAGAIN);
    CHECK(nothing.begin() == nothing.end());
    CHECK(left.send(right_id, "a"));
    CHECK(left.send(right_id, "b"));
    auto count = right.recv_into(messages, 4, tram::forever, true);
    CHECK(count && *count == 2);
    CHECK_EQ(right.recv_into(messages + 2, 2, tram::at_once).code(), -EAGAIN);
    CHECK(right.release(messages[1]));
    CHECK(right.release(messages[0]));
    CHECK_EQ(right.release(messages[0]).code(), -ENOENT);
    CHECK_EQ(right.recv_into(nullptr, 2).code(), -EINVAL);
    CHECK_EQ(right.peer(left_id)->from.consumed, 12);
}

TEST(copies) {
    tram::node left = open(left_id), right = open(right_id);
    std::array<char, 8> buffer{};

    CHECK(left.send(right_id, "12345678", 3));
    CHECK(left.send(right_id, "123456789"));
    auto got = right.recv_copy(buffer);
    CHECK(got && got->text() == "12345678" && got->tag() == 3);
    CHECK(got->data().data() == reinterpret_cast<std::byte *>(buffer.data()));
    auto large = right.recv_copy(buffer);
    CHECK_EQ(large.code(), -EMSGSIZE);
    CHECK_EQ(large.error()->limit, 9);
    CHECK(next(right) == "123456789");
}

TEST(staged_and_flushed) {
    tram::node left = open(left_id), right = open(right_id);
    auto staged = left.send(right_id, "1", 0, tram::more);

    CHECK(staged && staged.staged());
    CHECK(left.send(right_id, "2", 0, tram::more | tram::nowait).staged());
    CHECK_EQ(right.recv(tram::at_once).code(), -EAGAIN);
    CHECK_EQ(*left.accepted(right_id), 0);
    CHECK(left.flush());
    CHECK_EQ(*left.accepted(right_id), 2);
    CHECK(next(right) == "1");
    CHECK(!left.send(right_id, "3").staged());
    CHECK(!left.send(right_id, "4", 0, tram::durable).staged()); /* in memory: no difference */
}

TEST(forwarded) {
    tram::node left = open(left_id), right = open(right_id), third = open(third_id);
    tram::meta meta(9);

    meta.layer[0] = 1;
    CHECK(left.send(right_id, { "on and on" }, meta));
    auto got = right.recv();
    CHECK(right.forward(*got, third_id));
    auto there = third.recv();
    CHECK(there->text() == "on and on" && there->tag() == 9 && there->from() == right_id);
    CHECK(there->layer()[0] == std::byte{ 1 });
}

/* ---- owners --------------------------------------------------------------------------------- */

TEST(claims) {
    tram::node left = open(left_id), right = open(right_id);
    const void *address = nullptr;

    {
        auto claim = left.claim(right_id, 100);
        CHECK(claim && *claim && claim->data().size() == 100 && claim->to() == right_id);
        memcpy(claim->data().data(), "in place, and more", 18);
        CHECK_EQ(left.send(right_id, "x").code(), -EBUSY);
        CHECK_EQ(claim->commit(101).code(), -EINVAL); /* still open */
        CHECK(*claim);
        CHECK(claim->commit(8, tram::meta(4)));
        CHECK(!*claim);
        CHECK_EQ(claim->commit(8).code(), -EINVAL);
    }
    auto got = right.recv();
    CHECK(got->text() == "in place" && got->tag() == 4);
    {
        auto dropped = left.claim(right_id, 50);
        address = dropped->data().data();
    }
    CHECK(left.send(right_id, "free again"));
    {
        tram::claimed claim = *left.claim(right_id, 10), other;
        claim.data()[0] = std::byte{ 'm' };
        other = std::move(claim);
        CHECK(!claim && other);
        CHECK_EQ(left.send(right_id, "x").code(), -EBUSY);
        CHECK(other.commit(1));
    }
    {
        tram::claimed one = *left.claim(right_id, 10), two = *left.claim(third_id, 10);
        two = std::move(one); /* gives the other up */
        CHECK(left.send(third_id, "x"));
        CHECK(two.abort());
        CHECK(!two && two.abort().code() == -EINVAL);
    }
    CHECK(left.claim(right_id, 10)->commit(2, {}, tram::more).staged());
    CHECK(next(right) == "free again");
    CHECK(next(right) == "m");
    CHECK_EQ(right.recv(tram::at_once).code(), -EAGAIN);
    CHECK_EQ(left.claim(tram::id(), 10).code(), -EINVAL);
    CHECK(address);
}

TEST(held_messages) {
    tram::node left = open(left_id), right = open(right_id);

    for (int i = 0; i < 5; i++)
        CHECK(left.send(right_id, std::string(1, static_cast<char>('a' + i))));
    {
        tram::held first = *right.hold(), second = *right.hold();
        CHECK(first && first->text() == "a" && second->text() == "b");
        CHECK(next(right) == "c");
        CHECK(right.done());
        CHECK((*first).text() == "a"); /* still */
        CHECK_EQ(right.peer(left_id)->from.consumed, 0);
        CHECK(second.release());
        CHECK(!second && second.release().code() == -EINVAL);
        first = std::move(second); /* releases it, too */
        CHECK_EQ(right.peer(left_id)->from.consumed, 3);
    }
    tram::message kept;
    {
        tram::held held = *right.hold();
        kept = held.leave();
    }
    CHECK_EQ(right.peer(left_id)->from.consumed, 3);
    CHECK(right.release(kept));
    CHECK_EQ(right.peer(left_id)->from.consumed, 4);
    {
        auto held = right.hold();
        CHECK((*held)->text() == "e");
    }
    CHECK_EQ(right.peer(left_id)->from.consumed, 5);
    CHECK_EQ(right.hold(tram::at_once).code(), -EAGAIN);
    CHECK_EQ(right.hold(1us).code(), -ETIMEDOUT);
}

/* Neither needs its node where it was. */
TEST(a_node_moves) {
    tram::node left = open(left_id), right = open(right_id);
    tram::claimed claim = *left.claim(right_id, 4);
    tram::node moved = std::move(left);

    CHECK(!left && moved && moved.self() == left_id);
    memcpy(claim.data().data(), "move", 4);
    CHECK(claim.commit(4));
    left = std::move(moved);
    CHECK(next(right) == "move");
    left = open(third_id); /* closes 1.0.0.1 */
    CHECK(open(left_id).self() == left_id);
    left.close();
    CHECK(!left && open(third_id));
    tram_node *raw = right.detach();
    tram::node owner(raw);
    CHECK(!right && owner.get() == raw && owner.self() == right_id);
    CHECK(strstr(owner.bus_path(), test_dir()));
}

TEST(ephemeral_nodes) {
    tram::node left = open(tram::ephemeral), right = open(right_id);

    CHECK_EQ(left.self().value() >> 28, 15);
    CHECK(left.send(right_id, "from nobody"));
    CHECK(right.recv()->from() == left.self());
    auto gone = left.self();
    left.close();
    CHECK_EQ(right.send(gone, "x").code(), -EHOSTUNREACH);
}

/* ---- waiting -------------------------------------------------------------------------------- */

TEST(events_and_the_descriptor) {
    tram::node left = open(left_id, small()), right = open(right_id);
    pollfd entry = { *left.fd(), POLLIN, 0 };
    static char bytes[5000];
    int seen = 0;

    CHECK(!left.dispatch()->operator bool());
    while (left.send(right_id, tram::bytes(bytes, sizeof bytes), 0, tram::nowait))
        continue;
    CHECK_EQ(left.wait(1ms).code(), -ETIMEDOUT);
    CHECK(left.poll_timeout() > 0 && left.poll_timeout_ns() > 0);
    CHECK_EQ(poll(&entry, 1, 0), 0);
    while (right.recv(tram::at_once))
        continue;
    CHECK_EQ(poll(&entry, 1, left.poll_timeout()), 1);
    for (const tram::event &event : left.events()) {
        CHECK(event.type == tram::event::space && event.peer == right_id);
        seen++;
    }
    CHECK_EQ(seen, 1);
    CHECK(right.send(left_id, "x"));
    CHECK_EQ(left.poll_timeout(), 0);
    CHECK(left.wait(tram::at_once));
    CHECK(next(left) == "x");
}

TEST(watches) {
    tram::node left = open(left_id);

    CHECK_EQ(left.peer(right_id)->state, TRAM_PEER_NEVER);
    CHECK(left.watch(right_id));
    {
        tram::node right = open(right_id);
        CHECK(left.wait(10s));
        auto event = left.dispatch();
        CHECK(event && event->type == tram::event::up && event->peer == right_id);
        CHECK_EQ(event->pid, getpid());
        CHECK_EQ(left.peer(right_id)->state, TRAM_PEER_UP);
    }
    CHECK(left.wait(10s));
    CHECK(left.dispatch()->type == tram::event::down);
    CHECK(left.unwatch(right_id));
    tram::node right = open(right_id);
    CHECK_EQ(left.wait(1ms).code(), -ETIMEDOUT);
}

TEST(set_aside) {
    tram::node left = open(left_id);
    tram_aside list[4];

    CHECK(left.send(right_id, "bad", 3));
    CHECK(left.send(right_id, "good"));
    CHECK(open(right_id, tram::options().attempts(1)).recv()); /* closed with it in hand */
    tram::node right = open(right_id, tram::options().attempts(1));
    CHECK(next(right) == "good");
    auto count = right.aside_list(list, 4);
    CHECK(count && *count == 1 && list[0].seq == 1 && list[0].tag == 3 && list[0].size == 3);
    CHECK(right.aside_retry(left_id, 1));
    auto again = right.recv(10s);
    CHECK(again && again->text() == "bad" && again->again() && again->attempt() == 2);
    CHECK(right.done());
    CHECK_EQ(*right.aside_list(list, 4), 0);
    CHECK_EQ(right.aside_drop(left_id, 1).code(), -ENOENT);
}

TEST(fork_is_said) {
    tram::node left = open(left_id);

    JOIN(test_fork(
        [](void *arg) {
            auto &mine = *static_cast<tram::node *>(arg);

            CHECK_EQ(mine.send(right_id, "x").code(), -ECHILD);
            CHECK_EQ(mine.poll_timeout(), 0);
            mine.close();
            CHECK(open(right_id).send(left_id, "from the child"));
        },
        &left));
    CHECK(next(left, 10s) == "from the child");
}

TEST(options_arrive) {
    std::string dir = std::string(test_dir()) + "/elsewhere";
    auto options = tram::options()
                       .dir(dir.c_str()).ring_size(1 << 17).ring_max(1 << 18).keep(1 << 16)
                       .attempts(7).mode(0660).spin(5us).no_sigbus();

    CHECK(options.raw().spin_ns == 5000 && options.raw().attempts == 7);
    CHECK_EQ(options.raw().flags, TRAM_OPEN_NO_SIGBUS);
    CHECK_EQ(tram::options().spin(0s).raw().spin_ns, TRAM_NO_SPIN);
    CHECK_EQ(tram::options().spin(tram::forever).raw().spin_ns, TRAM_FOREVER);
    CHECK_EQ(tram::options().prefault().lock().raw().flags, TRAM_OPEN_PREFAULT | TRAM_OPEN_LOCK);
    auto opened = tram::node::open("bus-two", left_id, options);
    CHECK(opened && std::string(opened->bus_path()) == dir + "/bus-two");
    CHECK(!tram::node::open(right_id, tram::options().attempts(255)));
    CHECK(!tram::node::open(right_id, tram::options().layout("/nowhere")));
}
