/* test_hash_index.c: hashes that are remembered for as long as files look the same. */
#include "run/directory.h"
#include "run/hash_index.h"

#include "check.h"
#include "unit/files.h"

#include <sys/stat.h>

static const char *forged(char digit)
{
    static char hex[SHA256_HEX];
    memset(hex, digit, SHA256_HEX - 1);
    return hex;
}

/* Writes run.hashes with one entry for "f", as it looks, and a hash that is not its own.
 */
static void forge_index(const char *format)
{
    char text[300];
    struct file_stamp s;
    file_stamp_take(in_dir("f"), &s);
    snprintf(text, sizeof text, format, forged('7'), (unsigned long long)s.size,
             (long long)s.modified, (long long)s.changed, (unsigned long long)s.inode);
    write_file(RUN_HASHES, text, strlen(text));
}

static bool is_remembered(void)
{
    struct hash_index x = {0};
    hash_index_open(&x, files_dir);
    bool known = hash_index_knows_file(&x, "f", in_dir("f"), forged('7'));
    CHECK(!hash_index_knows_file(&x, "f", in_dir("f"), forged('8')));
    CHECK(!hash_index_knows_file(&x, "g", in_dir("f"), forged('7')));
    CHECK(!hash_index_knows_file(&x, "f", in_dir("none"), forged('7')));
    hash_index_close(&x);
    return known;
}

#define ENTRY "{\"format\": 1, \"files\": {\"f\": [\"%s\", %llu, %lld, %lld, %llu]}}"

static void test_looks(void)
{
    write_file("f", "first", 5);
    usleep(20000); /* longer than a tick of the file system's clock */
    forge_index(ENTRY);
    CHECK(is_remembered());
    CHECK(chmod(in_dir("f"), 0600) == 0);
    CHECK(!is_remembered());
    forge_index("{\"format\": 2, \"files\": {\"f\": [\"%s\", %llu, %lld, %lld, %llu]}}");
    CHECK(!is_remembered());
    forge_index("{\"format\": 1, \"files\": {\"f\": [\"%s\", %llu, %lld, %lld]}}");
    CHECK(!is_remembered());
    forge_index(
        "{\"format\": 1, \"files\": {\"f\": [\"%.7s\", %llu, %lld, %lld, %llu]}}");
    CHECK(!is_remembered());
}

static void test_damaged(void)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"format\": 1}",
        "{\"format\": 1, \"files\": []}",
        "{\"format\": 1, \"files\": {\"f\": 5}}",
        "{\"format\": 1, \"files\": {\"f\": [5, 1, 1, 1, 1]}}",
        "{\"format\": 1, \"files\": {\"f\": [\"\", \"1\", 1, 1, 1]}}",
        "{\"format\": 1, \"files\": {\"f\": [\"\", 1, 1.5, 1, 1]}}",
        "{\"format\": 1, \"files\": {\"f\": [\"\", 1, 1, null, 1]}}",
        "{\"format\": 1, \"files\": {\"f\": [\"\", 1, 1, 1, -1]}}",
        "{\"format\": 1, \"files\": {\"f\": [\"\", 1, 1, 1, 1]}}",
    };
    write_file("f", "first", 5);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_file(RUN_HASHES, texts[i], strlen(texts[i]));
        CHECK(!is_remembered());
    }
}

/* It may have changed once more in the tick in which the index was written. */
static void test_the_same_tick(void)
{
    for (int i = 0; i < 1000; i++) {
        struct file_stamp file, index;
        write_file("f", "first", 5);
        forge_index(ENTRY);
        file_stamp_take(in_dir("f"), &file);
        file_stamp_take(in_dir(RUN_HASHES), &index);
        if (file.changed == index.changed)
            CHECK(!is_remembered());
    }
}

static void test_reading_decides(void)
{
    struct hash_index x = {0}, again = {0};
    struct err e = {0};
    char hex[SHA256_HEX];
    write_file("f", "abcdef", 6);
    usleep(20000);
    forge_index(ENTRY);
    hash_index_open(&x, files_dir);
    CHECK(hash_index_file(&x, "f", in_dir("f"), hex, &e));
    CHECK_STR(hex, "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721");
    CHECK(!hash_index_file(&x, "none", in_dir("none"), hex, &e));
    hash_index_save(&x, files_dir);
    hash_index_close(&x);
    hash_index_open(&again, files_dir);
    CHECK(
        hash_index_knows_file(&again, "f", in_dir("f"),
                              "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd"
                              "93c4721"));
    hash_index_close(&again);
}

static void test_the_last_word_counts(void)
{
    static const struct file_stamp old = {.size = 1}, new = {.size = 2};
    struct hash_index x = {0}, again = {0};
    char name[20];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "%d", i % 100);
        hash_index_note(&x, name, i < 100 ? &old : &new, forged(i < 100 ? 'a' : 'b'));
    }
    hash_index_save(&x, files_dir);
    hash_index_close(&x);
    hash_index_open(&again, files_dir);
    CHECK_INT(again.count, 100);
    CHECK(hash_index_knows(&again, "42", &new, forged('b')));
    CHECK(!hash_index_knows(&again, "42", &new, forged('a')));
    CHECK(!hash_index_knows(&again, "42", &old, forged('b')));
    CHECK(!hash_index_knows(&again, "100", &new, forged('b')));

    /* what nobody asks for any more is left out, once there is something new */
    hash_index_save(&again, "/nowhere");
    hash_index_note(&again, "new", &new, forged('c'));
    hash_index_save(&again, files_dir);
    hash_index_close(&again);
    hash_index_open(&again, files_dir);
    CHECK_INT(again.count, 2);
    hash_index_note(&again, "newer", &new, forged('c'));
    hash_index_save(&again, "/nowhere"); /* nobody minds */
    hash_index_close(&again);
}

int main(void)
{
    RUN(test_looks);
    RUN(test_damaged);
    RUN(test_the_same_tick);
    RUN(test_reading_decides);
    RUN(test_the_last_word_counts);
    remove_dir();
    return CHECK_EXIT();
}
