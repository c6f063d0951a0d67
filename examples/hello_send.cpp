#include <cstdio>
#include <tram/tram.hpp>
using namespace tram::literals;
int main() {
    auto node = tram::node::open("1.0.0.1"_id);
    auto sent = node ? node->send("1.0.0.2"_id, "hello, world\n") : node.status();
    if (!sent)
        std::fprintf(stderr, "%s\n", sent.text());
    return sent ? 0 : 1;
}
