/* Runs a fuzz target over files, and over all files of folders, without a fuzzer. */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int failures, inputs;

static void complain(const char *path)
{
    perror(path);
    failures++;
}

/* The input lives in memory of the C library: a target may expect that nothing of ours is allocated before and after it. */
static void run_bytes(const char *path, const uint8_t *data, size_t len)
{
    long before = weir_mem_live();
    LLVMFuzzerTestOneInput(data, len);
    inputs++;
    if (weir_mem_live() != before) {
        fprintf(stderr, "%s: %ld blocks of memory are left\n", path, weir_mem_live() - before);
        failures++;
    }
}

/* Read into memory of exactly its size, so that a read beyond the input is seen. */
static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (f == NULL || fstat(fileno(f), &st) != 0) {
        complain(path);
        return;
    }
    size_t len = (size_t)st.st_size;
    uint8_t *data = malloc(len == 0 ? 1 : len);
    if (data == NULL || fread(data, 1, len, f) != len)
        complain(path);
    else
        run_bytes(path, data, len);
    free(data); /* the C library's, see above */
    fclose(f);
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_path(const char *path)
{
    struct stat st;
    struct dirent **names;
    if (stat(path, &st) != 0) {
        complain(path);
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    int n = scandir(path, &names, NULL, compare_names);
    for (int i = 0; i < n; i++) {
        char inner[PATH_MAX];
        int len = snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name);
        if (len < PATH_MAX && names[i]->d_name[0] != '.')
            run_path(inner);
        free(names[i]); /* the C library's */
    }
    if (n >= 0)
        free(names);
    else
        complain(path);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    if (inputs == 0) {
        fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
        return 64;
    }
    printf("%d inputs, %d failures\n", inputs, failures);
    return failures == 0 ? 0 : 1;
}
