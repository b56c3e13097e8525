/* core/shared_tables.h - the shared tables of an application, by name: the declared ones, and, where that is
 * allowed, those that somebody asks for. Owner: the graph. Threads: any, but for create and destroy. */
#ifndef WEIR_CORE_SHARED_TABLES_H
#define WEIR_CORE_SHARED_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct weir_shared_table;
struct weir_shared_tables;

enum {
    WEIR_SHARED_TABLES_MAX = 256,
    WEIR_SHARED_NAME_MAX = 64,
    WEIR_SHARED_BYTES = 16 << 20, /* what a table holds when nobody says how much */
};

/* A set without tables in which any name may be asked for, each with the default bound and no time to live:
 * what an application without configuration has. */
int weir_shared_tables_create(struct weir_shared_tables **ret, struct weir_err *reterr);
/* Nobody uses the tables any more. Takes NULL. */
void weir_shared_tables_destroy(struct weir_shared_tables *set);

/* Adds a table. EXISTS: there is one of that name; LIMIT: there are WEIR_SHARED_TABLES_MAX; INVAL: no name.
 */
int weir_shared_tables_declare(struct weir_shared_tables *set, const char *name, size_t bytes,
                               uint64_t ttl_ns, struct weir_err *reterr);
/* What a name that was not declared gets when it is asked for; `allowed` false: nothing. Before the set is
 * used. */
void weir_shared_tables_undeclared(struct weir_shared_tables *set, bool allowed, size_t bytes,
                                   uint64_t ttl_ns);

/* The table of that name, made if undeclared ones are allowed; it lives as long as the set. Errors: NOTFOUND,
 * LIMIT, INVAL, NOMEM. */
int weir_shared_tables_get(struct weir_shared_tables *set, const char *name, struct weir_shared_table **ret,
                           struct weir_err *reterr);
/* The i-th, in the order in which they came; NULL: there are not so many. */
struct weir_shared_table *weir_shared_tables_at(struct weir_shared_tables *set, size_t i);

#endif
