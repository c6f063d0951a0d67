/* SPDX-License-Identifier: MIT
 *
 * What tram.hpp is made of, without nodes: outcomes, IDs, bytes, time-outs, options. Include
 * tram.hpp, which says the rules.
 */
#ifndef TRAM_BASICS_HPP
#define TRAM_BASICS_HPP

#include <tram/tram.h>

#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#if defined(__cpp_consteval) && __cpp_consteval >= 201811L
#define TRAM_CONSTEVAL consteval
#else
#define TRAM_CONSTEVAL constexpr
#endif
#define TRAM_ALWAYS_INLINE __attribute__((always_inline))

namespace tram {

class node;

/* ---- outcomes ------------------------------------------------------------------------------- */

/* What became of a call: 0 or a positive number, or a negative errno. */
class [[nodiscard]] status {
public:
    status() noexcept = default;
    status(int code, const tram_node *node) noexcept : code_(code), node_(node) {}

    bool ok() const noexcept { return code_ >= 0; }
    explicit operator bool() const noexcept { return ok(); }

    /* What the C function returned: compare with -EAGAIN, -ETIMEDOUT … */
    int code() const noexcept { return code_; }

    /* Of a send with tram::more: written, not yet accepted (node::flush()). */
    bool staged() const noexcept { return code_ == TRAM_STAGED; }

    /* What was wrong, and what to do. */
    const char *text() const noexcept {
        const tram_error *error = tram_last_error(node_);

        if (ok())
            return "no error";
        return error->code == code_ ? error->text : std::strerror(-code_);
    }

    /* All that is known of the error: the channel, a holder's pid, the limit that was hit. NULL
     * where the library noted none: no error, or -EAGAIN and -ETIMEDOUT of receives and waits. */
    const tram_error *error() const noexcept {
        const tram_error *error = tram_last_error(node_);

        return !ok() && error->code == code_ ? error : nullptr;
    }

private:
    friend class node;
    int code_ = 0;
    const tram_node *node_ = nullptr;
};

/* A status, and a value that is there when the status is true. */
template <class T> class [[nodiscard]] result : public status {
public:
    result(tram::status outcome, T &&value) noexcept
        : tram::status(outcome), value_(std::move(value)) {}

    const tram::status &status() const noexcept { return *this; }

    T &operator*() & noexcept {
        assert(ok());
        return value_;
    }
    const T &operator*() const & noexcept {
        assert(ok());
        return value_;
    }
    T &&operator*() && noexcept {
        assert(ok());
        return std::move(value_);
    }
    T *operator->() noexcept {
        assert(ok());
        return &value_;
    }
    const T *operator->() const noexcept {
        assert(ok());
        return &value_;
    }

private:
    friend class node;
    result(int code, const tram_node *node) noexcept : tram::status(code, node) {}

    T value_{};
};

/* ---- IDs ------------------------------------------------------------------------------------ */

/* The ID of a node. 0.0.0.0, which a default one is, is invalid: every call refuses it. */
class id {
public:
    constexpr id() noexcept = default;
    constexpr explicit id(tram_id value) noexcept : value_(value) {}
    constexpr id(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) noexcept
        : value_(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d) {}

    constexpr tram_id value() const noexcept { return value_; }
    constexpr bool valid() const noexcept { return value_ != 0 && value_ != UINT32_MAX; }
    constexpr explicit operator bool() const noexcept { return valid(); }

    /* "1.2.3.4"; what is no ID gives an invalid one. */
    TRAM_ALWAYS_INLINE static constexpr id parse(std::string_view text) noexcept {
        scan at = octet(text, octet(text, octet(text, octet(text, scan{}), '.'), '.'), '.');

        return at.good && at.next == text.size() && at.value != UINT32_MAX ? id(at.value) : id();
    }

    /* As text, in an object of its own. */
    struct text_type {
        char buffer[TRAM_ID_TEXT];

        const char *c_str() const noexcept { return buffer; }
        operator std::string_view() const noexcept { return buffer; }
    };

    text_type text() const noexcept {
        text_type text;

        tram_id_format(value_, text.buffer);
        return text;
    }

    friend constexpr bool operator==(id a, id b) noexcept { return a.value_ == b.value_; }
    friend constexpr bool operator!=(id a, id b) noexcept { return a.value_ != b.value_; }
    friend constexpr bool operator<(id a, id b) noexcept { return a.value_ < b.value_; }

private:
    /* Without loops and inlined, so that a literal becomes a number wherever it stands. */
    struct scan {
        std::uint32_t value = 0;
        std::size_t next = 0;
        bool good = true;
    };

    TRAM_ALWAYS_INLINE static constexpr bool digit(std::string_view text, std::size_t at) noexcept {
        return at < text.size() && text[at] >= '0' && text[at] <= '9';
    }

    TRAM_ALWAYS_INLINE static constexpr scan octet(std::string_view text, scan at,
                                                   char before = '\0') noexcept {
        std::uint32_t number = 0;

        if (before != '\0' && (at.next >= text.size() || text[at.next++] != before))
            return scan{0, 0, false};
        if (!at.good || !digit(text, at.next))
            return scan{0, 0, false};
        number = static_cast<std::uint32_t>(text[at.next++] - '0');
        if (digit(text, at.next))
            number = number * 10 + static_cast<std::uint32_t>(text[at.next++] - '0');
        if (digit(text, at.next))
            number = number * 10 + static_cast<std::uint32_t>(text[at.next++] - '0');
        return scan{at.value << 8 | number, at.next, number <= 255};
    }

    tram_id value_ = 0;
};

/* To node::open(): any free ID out of 240.0.0.0/4. */
inline constexpr id ephemeral{240, 0, 0, 0};

namespace detail {
/* Not constexpr: a wrong literal that is evaluated by the compiler is an error here. */
inline id this_is_no_id() noexcept {
    return id();
}
} // namespace detail

namespace literals {
/* "1.0.0.2"_id. A wrong one does not compile; before C++20, where the compiler need not evaluate it
 * (outside of constexpr), it may become an invalid ID instead, which every call refuses. */
TRAM_ALWAYS_INLINE TRAM_CONSTEVAL id operator""_id(const char *text, std::size_t size) noexcept {
    return id::parse(std::string_view(text, size)).valid()
               ? id::parse(std::string_view(text, size))
               : detail::this_is_no_id();
}
} // namespace literals

/* ---- bytes ---------------------------------------------------------------------------------- */

/* Bytes to be read: a pointer and a size, owned by somebody else. From text, from a pointer and a
 * size, and from whatever has data() and size() of plain values: string, string_view, vector,
 * array, a C array, span. From C++20 on a std::span<const std::byte> can be made of it. */
class bytes {
public:
    using value_type = const std::byte;

    bytes() noexcept : piece_{nullptr, 0} {}
    bytes(const void *data, std::size_t size) noexcept
        : piece_{const_cast<void *>(data), size} {}
    bytes(std::string_view text) noexcept : bytes(text.data(), text.size()) {}
    bytes(const char *text) noexcept : bytes(std::string_view(text)) {}
    template <std::size_t N> bytes(char (&)[N]) = delete; /* a buffer: say how much of it */

    template <class C, class E = std::remove_pointer_t<decltype(std::data(std::declval<C &>()))>,
              class = std::enable_if_t<std::is_trivially_copyable_v<E> &&
                                       !std::is_convertible_v<C &, const char *>>>
    bytes(const C &container) noexcept
        : bytes(std::data(container), std::size(container) * sizeof(E)) {}

    const std::byte *data() const noexcept { return static_cast<std::byte *>(piece_.iov_base); }
    std::size_t size() const noexcept { return piece_.iov_len; }
    bool empty() const noexcept { return size() == 0; }
    const std::byte *begin() const noexcept { return data(); }
    const std::byte *end() const noexcept { return data() + size(); }
    const std::byte &operator[](std::size_t i) const noexcept { return data()[i]; }

    /* The same bytes, taken for text. */
    std::string_view text() const noexcept {
        return std::string_view(static_cast<const char *>(piece_.iov_base), size());
    }

private:
    friend class node;
    iovec piece_; /* so that an array of these is what tram_sendv() takes */
};

static_assert(sizeof(bytes) == sizeof(iovec) && std::is_standard_layout_v<bytes>);

/* Bytes to be written. */
class writable_bytes {
public:
    writable_bytes() noexcept = default;
    writable_bytes(void *data, std::size_t size) noexcept
        : data_(static_cast<std::byte *>(data)), size_(size) {}

    template <class C, class E = std::remove_pointer_t<decltype(std::data(std::declval<C &>()))>,
              class = std::enable_if_t<std::is_trivially_copyable_v<E> && !std::is_const_v<E> &&
                                       !std::is_same_v<std::decay_t<C>, writable_bytes>>>
    writable_bytes(C &&container) noexcept
        : writable_bytes(std::data(container), std::size(container) * sizeof(E)) {}

    std::byte *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    std::byte *begin() const noexcept { return data_; }
    std::byte *end() const noexcept { return data_ + size_; }
    std::byte &operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    std::byte *data_ = nullptr;
    std::size_t size_ = 0;
};

/* ---- time-outs, flags, options -------------------------------------------------------------- */

/* How long a call waits at most: any duration, tram::forever, or tram::at_once. Rounded up to
 * nanoseconds; what is negative does not wait, what is longer than 292 years has no end. */
class timeout {
public:
    template <class Rep, class Period>
    constexpr timeout(std::chrono::duration<Rep, Period> time) noexcept : ns_(convert(time)) {}

    static constexpr timeout from_ns(std::int64_t ns) noexcept { return timeout(ns); }
    constexpr std::int64_t ns() const noexcept { return ns_; }

private:
    constexpr explicit timeout(std::int64_t ns) noexcept : ns_(ns) {}

    template <class Rep, class Period>
    static constexpr std::int64_t convert(std::chrono::duration<Rep, Period> time) noexcept {
        using nanoseconds = std::chrono::nanoseconds;
        using seconds = std::chrono::duration<double>;

        if (!(time > time.zero()))
            return 0;
        if (std::chrono::duration_cast<seconds>(time).count() >= 9.2e9)
            return TRAM_FOREVER;
        return std::chrono::ceil<nanoseconds>(time).count();
    }

    std::int64_t ns_;
};

inline constexpr timeout forever = timeout::from_ns(TRAM_FOREVER);
inline constexpr timeout at_once = timeout::from_ns(0);

/* Flags of a send; combined with |. */
enum class flags : std::uint32_t {
    none = 0,
    nowait = TRAM_NOWAIT,
    more = TRAM_MORE,
    durable = TRAM_DURABLE,
};

inline constexpr flags nowait = flags::nowait; /* a full ring is -EAGAIN at once */
inline constexpr flags more = flags::more;     /* stage: see status::staged(), node::flush() */
inline constexpr flags durable = flags::durable; /* on a disk before the call returns */

constexpr flags operator|(flags a, flags b) noexcept {
    return static_cast<flags>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}

/* What goes with a message beside its payload. */
struct meta : tram_meta {
    constexpr meta(std::uint32_t tag_ = 0) noexcept : tram_meta{tag_, 0, {}} {}
};

/* Options of node::open(): tram::options().ring_size(1 << 20).spin(50us). */
class options {
public:
    options() noexcept { raw_.struct_size = sizeof(raw_); }

    options &dir(const char *path) noexcept { return raw_.dir = path, *this; }
    options &layout(const char *path) noexcept { return raw_.layout = path, *this; }
    options &ring_size(std::uint64_t size) noexcept { return raw_.ring_size = size, *this; }
    options &ring_max(std::uint64_t size) noexcept { return raw_.ring_max = size, *this; }
    options &keep(std::uint64_t size) noexcept { return raw_.keep = size, *this; }
    options &attempts(std::uint32_t count) noexcept { return raw_.attempts = count, *this; }
    options &mode(std::uint32_t mode) noexcept { return raw_.mode = mode, *this; }

    /* How long a wait looks before it sleeps: forever: it never sleeps; 0: it sleeps at once. */
    options &spin(timeout time) noexcept {
        return raw_.spin_ns = time.ns() == 0 ? TRAM_NO_SPIN : time.ns(), *this;
    }

    options &prefault() noexcept { return flag(TRAM_OPEN_PREFAULT); }
    options &lock() noexcept { return flag(TRAM_OPEN_LOCK); }
    options &no_sigbus() noexcept { return flag(TRAM_OPEN_NO_SIGBUS); }
    options &stamp() noexcept { return flag(TRAM_OPEN_STAMP); }
    options &dump() noexcept { return flag(TRAM_OPEN_DUMP); }
    options &flag(std::uint32_t flags) noexcept { return raw_.flags |= flags, *this; }

    tram_options &raw() noexcept { return raw_; }
    const tram_options &raw() const noexcept { return raw_; }

private:
    tram_options raw_{};
};

} // namespace tram

template <> struct std::hash<tram::id> {
    std::size_t operator()(tram::id id) const noexcept {
        return std::hash<std::uint32_t>()(id.value());
    }
};

#undef TRAM_CONSTEVAL
#undef TRAM_ALWAYS_INLINE

#endif
