/* test_publish.c: reading regular files, and files that appear whole or not at all. */
#include "check.h"
#include "io/file.h"
#include "io/publish.h"
#include "unit/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static void check_content(const char *path, const char *expected)
{
    struct err e = {0};
    char *bytes = NULL;
    size_t size = 0;
    CHECK(file_read_all(path, LIMIT_JSON_CONFIG, &bytes, &size, &e));
    CHECK_STR(bytes, expected);
    free(bytes);
}

static void test_only_regular_files(void)
{
    struct err e = {0};
    uint64_t size;
    char *bytes;
    size_t read_size;
    CHECK_INT(file_open("/dev/zero", &size, &e), -1);
    CHECK_STR(e.message, "/dev/zero: found a device, expected a regular file");
    CHECK_INT(e.code, ERR_INPUT);
    e = (struct err){0};
    CHECK_INT(file_open(in_dir(""), &size, &e), -1);
    CHECK_HAS(e.message, "found a directory");
    e = (struct err){0};
    CHECK_INT(mkfifo(in_dir("fifo"), 0600), 0);
    CHECK(!file_read_all(in_dir("fifo"), LIMIT_JSON_CONFIG, &bytes, &read_size, &e));
    CHECK_HAS(e.message, "found a FIFO");
    e = (struct err){0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", in_dir("socket"));
    int end = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_INT(bind(end, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_INT(file_open(in_dir("socket"), &size, &e), -1); /* Linux opens none */
    CHECK_HAS(e.message, "socket: open: No such device or address");
    close(end);
    e = (struct err){0};
    CHECK_INT(file_open(in_dir("no\nne"), &size, &e), -1);
    CHECK_HAS(e.message, "no\\x0Ane: found no such file (No such file or directory), expected");
    e = (struct err){0};
    CHECK_INT(symlink("loop", in_dir("loop")), 0);
    CHECK_INT(file_open(in_dir("loop"), &size, &e), -1);
    CHECK_HAS(e.message, "Too many levels of symbolic links");
}

static void test_reads(void)
{
    struct err e = {0};
    uint64_t size = 0;
    char part[4] = {0};
    char *bytes;
    size_t read_size;
    const char *path = write_file("abc", "abcdef", 6);
    int fd = file_open(path, &size, &e);
    CHECK_INT(size, 6);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(file_read_at(fd, part, 3, 2, path, &e));
    CHECK_STR(part, "cde");
    CHECK(!file_read_at(fd, part, 3, 4, path, &e));
    CHECK_HAS(e.message,
              "abc: found end of file at byte 6, expected 3 bytes from byte 4");
    file_close(fd);
    e = (struct err){0};
    limit_set(LIMIT_JSON_CONFIG, 5);
    CHECK(!file_read_all(path, LIMIT_JSON_CONFIG, &bytes, &read_size, &e));
    limit_set(LIMIT_JSON_CONFIG, 1000);
    CHECK_HAS(e.message, "found more than 5 bytes");
    char hex[SHA256_HEX];
    e = (struct err){0};
    CHECK(file_sha256(path, hex, &e));
    CHECK_STR(hex, "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721");
    CHECK(!file_sha256(in_dir("none"), hex, &e));
}

static void test_reads_streams(void)
{
    struct err e = {0};
    char *bytes = NULL;
    size_t size = 0;
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "hello", 5), 5);
    close(ends[1]);
    limit_set(LIMIT_JSON_PROMPTS, 5);
    CHECK(file_read_stream(ends[0], "standard input", LIMIT_JSON_PROMPTS, &bytes, &size,
                           &e));
    CHECK_STR(bytes, "hello");
    CHECK_INT(size, 5);
    free(bytes);
    close(ends[0]);
    int zero = open("/dev/zero", O_RDONLY);
    limit_set(LIMIT_JSON_PROMPTS, 100000);
    CHECK(
        !file_read_stream(zero, "standard input", LIMIT_JSON_PROMPTS, &bytes, &size, &e));
    CHECK_STR(e.message,
              "standard input: found more than 100000 bytes, expected at most that");
    CHECK(bytes == NULL);
    close(zero);
}

static void test_publishes(void)
{
    struct err e = {0};
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("out.txt"));
    CHECK(publish_bytes(path, "one", 3, &e));
    check_content(path, "one");
    CHECK(publish_bytes(path, "second", 6, &e));
    check_content(path, "second");
    CHECK_INT(count_files(".tmp."), 0);
    struct stat info;
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0111) == 0);
    CHECK(publish_bytes(path, "", 0, &e));
    check_content(path, "");
}

static void test_abandoned_changes_nothing(void)
{
    struct err e = {0};
    struct publish p = {0};
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("kept.txt"));
    publish_abandon(&p);
    CHECK(publish_bytes(path, "old", 3, &e));
    CHECK(publish_begin(&p, path, &e));
    CHECK(publish_write(&p, "new", 3, &e));
    CHECK_INT(count_files(".kept.txt.tmp."), 1);
    check_content(path, "old");
    publish_abandon(&p);
    publish_abandon(&p);
    check_content(path, "old");
    CHECK_INT(count_files(".tmp."), 0);
}

static void test_failures_are_named(void)
{
    struct err e = {0};
    CHECK(!publish_bytes("/nowhere/at/all", "x", 1, &e));
    CHECK_INT(e.code, ERR_OUTPUT);
    CHECK_HAS(e.message, "/nowhere/at/all: create: No such file or directory");
    e = (struct err){0};
    CHECK_INT(mkdir(in_dir("directory"), 0700), 0);
    CHECK(!publish_bytes(in_dir("directory"), "x", 1, &e));
    CHECK_HAS(e.message, "directory: rename: Is a directory");
    CHECK_INT(count_files(".tmp."), 0);
}

/* A limit on file sizes. The directory's name is written beforehand, because the
 * child must not make one of its own. */
static void test_file_size_limit(void)
{
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("limited"));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096});
        struct err e = {0};
        static char bytes[10000];
        bool ok = publish_bytes(path, bytes, sizeof bytes, &e);
        _exit(!ok && e.code == ERR_OUTPUT && strstr(e.message, "write: File too large")
                  ? 0
                  : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
    CHECK_INT(count_files("limited"), 0);
}

static void test_long_names(void)
{
    struct err e = {0};
    char name[256];
    memset(name, 'n', 255);
    name[255] = 0;
    char path[600];
    snprintf(path, sizeof path, "%s", in_dir(name));
    CHECK(publish_bytes(path, "x", 1, &e));
    check_content(path, "x");
}

static void test_signal_path_unlinks(void)
{
    struct err e = {0};
    struct publish p[3] = {{0}};
    const char *names[] = {"s0", "s1", "s2"};
    for (int i = 0; i < 3; i++)
        CHECK(publish_begin(&p[i], in_dir(names[i]), &e));
    publish_abandon(&p[1]);
    CHECK_INT(count_files(".tmp."), 2);
    publish_unlink_live();
    CHECK_INT(count_files(".tmp."), 0);
    CHECK(!publish_commit(&p[0], &e));
    CHECK_HAS(e.message, "s0: rename: No such file");
    publish_abandon(&p[2]);
}

static void test_registry_is_bounded(void)
{
    enum { MANY = 17 };
    struct err e = {0};
    struct publish p[MANY] = {{0}};
    int begun = 0;
    for (int i = 0; i < MANY; i++)
        begun += publish_begin(&p[i], in_dir("many"), &e);
    CHECK_INT(begun, MANY - 1);
    CHECK_INT(e.code, ERR_OUTPUT);
    for (int i = 0; i < MANY; i++)
        publish_abandon(&p[i]);
    CHECK_INT(count_files(".tmp."), 0);
}

static void test_stale_are_removed(void)
{
    struct err e = {0};
    char dead[300] = "", host[300] = "";
    fflush(NULL);
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct publish p = {0};
        struct err ignored = {0};
        bool ok = publish_begin(&p, in_dir("orphan"), &ignored);
        const char *name = ok ? strrchr(p.temporary, '/') + 1 : "";
        _exit(write(ends[1], name, strlen(name)) > 0 ? 0 : 1);
    }
    waitpid(child, NULL, 0);
    CHECK(read(ends[0], dead, sizeof dead - 1) > 0);
    close(ends[0]);
    close(ends[1]);
    CHECK_INT(count_files(".orphan.tmp."), 1);

    /* The same name as another host's, and names that only look alike, stay. */
    snprintf(host, sizeof host, ".orphan.tmp.else-where.%d.0123456789abcdef", (int)child);
    write_file(host, "", 0);
    write_file("orphan.tmp.txt", "", 0);
    write_file(".orphan.tmp.x.1", "", 0);
    struct publish p = {0};
    CHECK(publish_begin(&p, in_dir("mine"), &e));
    int removed = -1;
    CHECK(publish_remove_stale(files_dir, &removed, &e));
    CHECK_INT(removed, 1);
    CHECK_INT(count_files(dead), 0);
    CHECK_INT(count_files(host), 1);
    CHECK_INT(count_files(".mine.tmp."), 1);
    publish_abandon(&p);
    CHECK(!publish_remove_stale("/nowhere", NULL, &e));
    CHECK_HAS(e.message, "/nowhere: open directory");
}

int main(void)
{
    in_dir("");
    RUN(test_only_regular_files);
    RUN(test_reads);
    RUN(test_reads_streams);
    RUN(test_publishes);
    RUN(test_abandoned_changes_nothing);
    RUN(test_failures_are_named);
    RUN(test_file_size_limit);
    RUN(test_long_names);
    RUN(test_signal_path_unlinks);
    RUN(test_registry_is_bounded);
    RUN(test_stale_are_removed);
    remove_dir();
    return CHECK_EXIT();
}
