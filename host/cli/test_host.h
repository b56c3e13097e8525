/* cli/test_host.h - the configuration's half of `weir test`: an application under test is a weir.yaml (or a text of the
 * same form) whose sources and sinks are checked, but open nothing. One thread. */
#ifndef WEIR_CLI_TEST_HOST_H
#define WEIR_CLI_TEST_HOST_H

#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

struct weir_graph;
struct weir_registry;
struct weir_test_hosted;

struct weir_test_host_source {
    const char *path; /* NULL: `text`, which calls itself `name` and has its files in `folder` */
    const char *text;
    size_t len;
    const char *name, *folder;
    const char *const *sets; /* path, value, path, value, … */
    size_t set_count;        /* pairs */
};

/* Loads it and builds its graph with all scripts. The makers of sources and sinks are empty: the caller sets them before it makes
 * workers. Problems are appended to `report`. A text may have the source type `test`, which has no options. */
int weir_test_host_open(const struct weir_registry *registry, const struct weir_test_host_source *source, struct weir_strbuf *report,
                        struct weir_test_hosted **ret, struct weir_err *reterr);
/* Lives until close. */
struct weir_graph *weir_test_host_graph(struct weir_test_hosted *h);
/* No worker of it is left. Takes NULL. */
void weir_test_host_close(struct weir_test_hosted *h);

#endif
