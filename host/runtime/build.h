/* runtime/build.h - from the configuration's structures to a graph with loaded scripts and open sockets. Control thread. */
#ifndef WEIR_RUNTIME_BUILD_H
#define WEIR_RUNTIME_BUILD_H

#include "base/err.h"
#include "base/strbuf.h"
#include "core/graph.h"

struct weir_app;
struct weir_loop;
struct weir_registry;

enum { WEIR_ADDRESS_MAX = 160 };

/* Where a source stage listens; empty for other stages. */
struct weir_address {
    char text[WEIR_ADDRESS_MAX];
};

/* Makes the graph of `app`. `addresses` has one for each stage. Problems with scripts, all of them, are appended to `report`, and reterr sums them up.
 * `app` must outlive the graph. */
int weir_build_graph(const struct weir_app *app, const struct weir_registry *registry, struct weir_strbuf *report,
                     struct weir_address *addresses, struct weir_graph **ret, struct weir_err *reterr);
/* Gives `loop` the controllers that `app` asks for. */
int weir_build_controllers(const struct weir_app *app, const struct weir_registry *registry, struct weir_graph *g, struct weir_loop *loop,
                           struct weir_err *reterr);

#endif
