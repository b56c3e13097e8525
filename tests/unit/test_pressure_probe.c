/* What the system says of a process: the texts of /proc and of both versions of cgroups, in folders of their own and for real. */
#include "test.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/pressure_probe.h"

static void statm_has_the_resident_pages_second(void **state)
{
    (void)state;
    uint64_t size, resident;
    assert_true(weir_probe_parse_statm("765 435 406 5 0 123 0\n", &size, &resident));
    assert_int_equal(size, 765);
    assert_int_equal(resident, 435);
    assert_false(weir_probe_parse_statm("", &size, &resident));
    assert_false(weir_probe_parse_statm("12", &size, &resident));
}

static void the_cgroup_of_memory_is_found(void **state)
{
    (void)state;
    char path[64];
    const char *both = "9:name=systemd:/\n4:cpu,memory:/a/b:c\n3:memoryless:/no\n0::/unified\n";
    assert_true(weir_probe_parse_cgroup(both, false, path, sizeof path));
    assert_string_equal(path, "/a/b:c");
    assert_true(weir_probe_parse_cgroup(both, true, path, sizeof path));
    assert_string_equal(path, "/unified");
    assert_false(weir_probe_parse_cgroup("3:memoryless:/no\n", false, path, sizeof path));
    assert_false(weir_probe_parse_cgroup("3:memoryless:/no\n", true, path, sizeof path));
    assert_false(weir_probe_parse_cgroup("0::/long", true, path, 5));
    assert_false(weir_probe_parse_cgroup("nothing\n:\n::\n", false, path, sizeof path));
}

static void a_mount_is_found_with_its_root(void **state)
{
    (void)state;
    char root[64], point[64];
    const char *text = "25 1 8:1 / / rw - ext4 /dev/sda rw\n"
                       "34 30 0:31 /docker/x /sys/fs/cgroup/mem\\040ory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
                       "40 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    assert_true(weir_probe_parse_mount(text, false, root, point, sizeof root));
    assert_string_equal(root, "/docker/x");
    assert_string_equal(point, "/sys/fs/cgroup/mem ory");
    assert_true(weir_probe_parse_mount(text, true, root, point, sizeof root));
    assert_string_equal(root, "/");
    assert_string_equal(point, "/sys/fs/cgroup/unified");
    assert_false(weir_probe_parse_mount("", true, root, point, sizeof root));
    assert_false(weir_probe_parse_mount("1 2 3 - cgroup2", true, root, point, sizeof root));
    assert_false(weir_probe_parse_mount(text, false, root, point, 8));
}

static void no_limit_is_written_in_two_ways(void **state)
{
    (void)state;
    uint64_t n;
    assert_true(weir_probe_parse_bytes("max\n", &n) && n == 0);
    assert_true(weir_probe_parse_bytes("9223372036854771712\n", &n) && n == 0);
    assert_true(weir_probe_parse_bytes("4096\n", &n) && n == 4096);
    assert_false(weir_probe_parse_bytes("", &n));
    assert_false(weir_probe_parse_bytes("-1", &n));
    assert_int_equal(weir_probe_parse_stat("file 1\ninactive_file 22\nactive_file 3", "inactive_file"), 22);
    assert_int_equal(weir_probe_parse_stat("file 1\ninactive_file 22\nactive_file 3", "active_file"), 3);
    assert_int_equal(weir_probe_parse_stat("file 1\n", "fil"), 0);
}

/* Whatever stands there, the parsers stay inside it. */
static void parsers_survive_cut_and_changed_texts(void **state)
{
    (void)state;
    static const char text[] = "34 30 0:31 /docker/x /sys\\040 rw - cgroup cgroup rw,memory\n4:cpu,memory:/a\n0::/u\nmax 12 inactive_file 3\n";
    uint64_t seed = 11, a, b;
    for (int i = 0; i < 100000; i++) {
        size_t len = (size_t)(seed >> 33) % sizeof text;
        char *copy = malloc(len + 1), one[32], two[32]; /* of its size: sanitizers see what reads beyond */
        memcpy(copy, text, len);
        copy[len] = '\0';
        for (int k = 0; k < 3 && len > 0; k++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            copy[(seed >> 33) % len] = " :,\n-/\\0mc"[(seed >> 20) % 10];
        }
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        (void)weir_probe_parse_mount(copy, (i & 1) != 0, one, two, sizeof one);
        (void)weir_probe_parse_cgroup(copy, (i & 1) != 0, one, sizeof one);
        (void)weir_probe_parse_statm(copy, &a, &b);
        (void)weir_probe_parse_bytes(copy, &a);
        (void)weir_probe_parse_stat(copy, "inactive_file");
        free(copy);
    }
}

/* ---- folders ---- */

struct place {
    char root[64];
};

static void put(const struct place *p, const char *name, const char *text)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s%s", p->root, name);
    for (char *at = path + strlen(p->root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void begin(struct place *p)
{
    *p = (struct place){.root = "/tmp/weir-probe-XXXXXX"};
    assert_non_null(mkdtemp(p->root));
    put(p, "/proc/self/statm", "1000 250 0 0 0 0 0\n");
    put(p, "/proc/self/fd/0", "");
    put(p, "/proc/self/fd/1", "");
    put(p, "/proc/self/fd/7", "");
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void end(const struct place *p)
{
    assert_int_equal(nftw(p->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static struct weir_probe *open_probe(const struct place *p)
{
    struct weir_probe *probe = NULL;
    struct weir_err err;
    assert_int_equal(weir_probe_open(p->root, &probe, &err), WEIR_OK);
    return probe;
}

static void a_process_without_a_cgroup_has_its_own_figures(void **state)
{
    (void)state;
    struct place p;
    struct weir_probe_reading r;
    begin(&p);
    struct weir_probe *probe = open_probe(&p);
    weir_probe_read(probe, &r);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(r.resident, 250 * page);
    assert_int_equal(r.address_space, 1000 * page);
    assert_int_equal(r.cgroup_max, 0);
    assert_int_equal(r.descriptors, 3);
    assert_true(r.physical > 0);
    put(&p, "/proc/self/statm", "1000 300 0 0 0 0 0\n"); /* the same file */
    weir_probe_read(probe, &r);
    assert_int_equal(r.resident, 300 * page);
    weir_probe_close(probe);
    end(&p);
}

static void version_2_counts_what_cant_be_reclaimed(void **state)
{
    (void)state;
    struct place p;
    struct weir_probe_reading r;
    begin(&p);
    put(&p, "/proc/self/cgroup", "0::/app.slice/weir.service\n");
    put(&p, "/proc/self/mountinfo", "40 30 0:37 / /cg rw - cgroup2 cgroup2 rw\n");
    put(&p, "/cg/app.slice/memory.max", "8000\n"); /* the nearer limit is that of the parent */
    put(&p, "/cg/app.slice/memory.current", "7000\n");
    put(&p, "/cg/app.slice/memory.stat", "anon 3000\ninactive_file 1500\nactive_file 500\nslab_reclaimable 100\n");
    put(&p, "/cg/app.slice/weir.service/memory.max", "max\n");
    put(&p, "/cg/app.slice/weir.service/memory.current", "10\n");
    put(&p, "/cg/app.slice/weir.service/memory.stat", "anon 3\n");
    struct weir_probe *probe = open_probe(&p);
    weir_probe_read(probe, &r);
    assert_int_equal(r.cgroup_max, 8000);
    assert_int_equal(r.cgroup_used, 4900);
    put(&p, "/cg/app.slice/memory.current", "3000\n"); /* under half: the caches do not matter */
    put(&p, "/cg/app.slice/memory.max", "16000\n");    /* limits may change */
    weir_probe_read(probe, &r);
    assert_int_equal(r.cgroup_max, 16000);
    assert_int_equal(r.cgroup_used, 3000);
    weir_probe_close(probe);
    end(&p);
}

static void version_1_is_found_beside_an_empty_version_2(void **state)
{
    (void)state;
    struct place p;
    struct weir_probe_reading r;
    begin(&p);
    put(&p, "/proc/self/cgroup", "4:memory:/docker/abc\n0::/\n");
    put(&p, "/proc/self/mountinfo", "34 30 0:31 /docker/abc /cg/memory rw - cgroup cgroup rw,memory\n40 30 0:37 / /cg/unified rw - cgroup2 cgroup2 rw\n");
    put(&p, "/cg/unified/cgroup.procs", "");
    put(&p, "/cg/memory/memory.limit_in_bytes", "1000000\n");
    put(&p, "/cg/memory/memory.usage_in_bytes", "900000\n");
    put(&p, "/cg/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 50000\ntotal_active_file 50000\n");
    struct weir_probe *probe = open_probe(&p);
    weir_probe_read(probe, &r);
    assert_int_equal(r.cgroup_max, 1000000);
    assert_int_equal(r.cgroup_used, 800000);
    weir_probe_close(probe);
    end(&p);
}

static void a_path_of_the_host_stands_for_what_is_mounted(void **state)
{
    (void)state;
    struct place p;
    struct weir_probe_reading r;
    begin(&p);
    put(&p, "/proc/self/cgroup", "0::/../../kubepods/pod1\n");
    put(&p, "/proc/self/mountinfo", "40 30 0:37 / /cg rw - cgroup2 cgroup2 rw\n");
    put(&p, "/cg/memory.max", "5000\n");
    put(&p, "/cg/memory.current", "100\n");
    struct weir_probe *probe = open_probe(&p);
    weir_probe_read(probe, &r);
    assert_int_equal(r.cgroup_max, 5000);
    assert_int_equal(r.cgroup_used, 100);
    weir_probe_close(probe);
    end(&p);
}

/* ---- for real ---- */

static void descriptors_are_counted_when_none_is_left(void **state)
{
    (void)state;
    struct weir_probe *probe = NULL;
    struct weir_probe_reading before, r;
    struct weir_err err;
    struct rlimit old, tight;
    int fds[64], n = 0;
    assert_int_equal(weir_probe_open("", &probe, &err), WEIR_OK);
    weir_probe_read(probe, &before);
    assert_true(before.resident > 0 && before.descriptors >= 3);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = (struct rlimit){.rlim_cur = before.descriptors + 16, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    while (n < 64 && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    weir_probe_read(probe, &r);
    assert_int_equal(r.descriptors, before.descriptors + (uint64_t)n);
    assert_int_equal(r.descriptors_max, tight.rlim_cur);
    assert_true(r.resident > 0);
    while (n-- > 0)
        close(fds[n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    weir_probe_close(probe);
}

static void a_lack_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_probe *probe = NULL;
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = weir_probe_open("", &probe, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && probe == NULL));
        weir_probe_close(probe);
        assert_int_equal(weir_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(statm_has_the_resident_pages_second),
        TEST(the_cgroup_of_memory_is_found),
        TEST(a_mount_is_found_with_its_root),
        TEST(no_limit_is_written_in_two_ways),
        TEST(parsers_survive_cut_and_changed_texts),
        TEST(a_process_without_a_cgroup_has_its_own_figures),
        TEST(version_2_counts_what_cant_be_reclaimed),
        TEST(version_1_is_found_beside_an_empty_version_2),
        TEST(a_path_of_the_host_stands_for_what_is_mounted),
        TEST(descriptors_are_counted_when_none_is_left),
        TEST(a_lack_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
