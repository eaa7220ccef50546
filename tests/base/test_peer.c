/* test_peer.c - another program is asked, and answers; what it does wrong is a sentence. */
#include "base/peer.h"

#include <string.h>

#include "test.h"

static void test_answers(void)
{
    npr_peer *peer;
    double seconds = -1;
    CHECK_OK(npr_peer_start("echo ready; while read -r n; do echo \"$n\"; done", &peer));
    CHECK_OK(npr_peer_ask(peer, "0.25", NULL, 0, &seconds));
    CHECK(seconds == 0.25);
    CHECK_OK(npr_peer_ask(peer, "3", NULL, 0, &seconds));
    CHECK(seconds == 3);
    CHECK(npr_peer_ask(peer, "later", NULL, 0, &seconds) == NPR_EENV);
    CHECK(strstr(npr_status_text(), "wanted seconds"));
    npr_peer_end(peer);
}

/* Bytes arrive whole, whatever they are, and however many. */
static void test_bytes(void)
{
    static char bytes[300000];
    npr_peer *peer;
    double seconds = 0;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    CHECK_OK(npr_peer_start("echo ready; read -r n; head -c \"$n\" | wc -c", &peer));
    CHECK_OK(npr_peer_ask(peer, "300000", bytes, sizeof bytes, &seconds));
    CHECK(seconds == 300000);
    npr_peer_end(peer);
}

static void test_refuses(void)
{
    npr_peer *peer;
    double seconds;
    CHECK(npr_peer_start("exit 3", &peer) == NPR_EENV);
    CHECK(!peer && strstr(npr_status_text(), "before it was ready"));
    CHECK(npr_peer_start("echo no such module", &peer) == NPR_EENV);
    CHECK(!peer && strstr(npr_status_text(), "says \"no such module\", wanted \"ready\""));
    CHECK_OK(npr_peer_start("echo ready; read -r n", &peer));
    CHECK(npr_peer_ask(peer, "1", NULL, 0, &seconds) == NPR_EENV);
    npr_peer_end(peer);
    npr_peer_end(NULL);
}

int main(void)
{
    test_answers();
    test_bytes();
    test_refuses();
    return TEST_END();
}
