/* Digests against published values of XXH3-128, blocks against streams, files. */
#include "test.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"

int main(void)
{
    char a[NPR_DIGEST_HEX], b[NPR_DIGEST_HEX];
    npr_digest_block("", 0, a);
    CHECK_TEXT(
        a, "99aa06d3014798d86001c324468d497f"); /* the value of the empty input in xxHash's specification */

    enum { N = 3 << 20 };
    unsigned char *bytes = npr_alloc(N, 1, "bytes");
    for (int i = 0; i < N; i++) bytes[i] = (unsigned char)(i * 7 + (i >> 9));
    npr_digest_block(bytes, N, a);
    npr_digest *g = npr_digest_new();
    for (int i = 0, step = 1; i < N; step = step * 3 % 70001 + 1) {
        int n = i + step < N ? step : N - i;
        npr_digest_add(g, bytes + i, (size_t)n);
        i += n;
    }
    npr_digest_hex(g, b);
    CHECK_TEXT(a, b);
    npr_digest_free(g);

    char *path = npr_path("%s/file", test_folder());
    CHECK_OK(npr_file_replace(path, bytes, N));
    int64_t size = 0;
    CHECK_OK(npr_digest_file(path, b, &size));
    CHECK_TEXT(a, b);
    CHECK_INT(size, N);
    bytes[N / 2] ^= 1;
    npr_digest_block(bytes, N, b);
    CHECK(strcmp(a, b) != 0);
    CHECK_FAILS(npr_digest_file("/nonexistent/x", b, NULL), NPR_ENOINPUT, "/nonexistent/x");
    CHECK(npr_hash64("abc", 3, 1) != npr_hash64("abc", 3, 2));
    free(bytes);
    free(path);
    test_folder_remove();
    return TEST_END();
}
