#include "cli/graph_draw.h"

#include <stdbool.h>
#include <string.h>

#include "cli/figures.h"
#include "cli/table.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

static int64_t int_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* "reject", "route to slow". */
static void add_overflow(const json_t *o, struct weir_strbuf *out)
{
    weir_strbuf_adds(out, text_of(o, "overflow"));
    if (json_object_get(o, "route") != NULL)
        weir_strbuf_addf(out, " to %s", text_of(o, "route"));
}

/* "1024, 64MiB, reject, fifo"; "-" for a source. */
static void describe_queue(const json_t *stage, struct weir_strbuf *out)
{
    const json_t *queue = json_object_get(stage, "queue");
    char bytes[WEIR_FIGURE_MAX];
    if (queue == NULL) {
        weir_strbuf_addf(out, "%s",
                         json_object_get(stage, "address") != NULL ? text_of(stage, "address") : "-");
        return;
    }
    weir_strbuf_addf(out, "%" JSON_INTEGER_FORMAT ", %s, ",
                     json_integer_value(json_object_get(queue, "capacity")),
                     weir_figure_bytes(bytes, (uint64_t)int_of(queue, "bytes")));
    add_overflow(queue, out);
    weir_strbuf_addf(out, ", %s", text_of(queue, "order"));
    if (json_object_get(queue, "order_by") != NULL)
        weir_strbuf_addf(out, " by %s", text_of(queue, "order_by"));
    if (json_object_get(queue, "fair_by") != NULL)
        weir_strbuf_addf(out, ", fair by %s", text_of(queue, "fair_by"));
}

static void add_live(struct weir_table *table, const json_t *stage)
{
    static const char *const keys[] = {"depth",  "running", "handled", "rejected",
                                       "failed", "expired", "dropped"};
    const json_t *live = json_object_get(stage, "live");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (live != NULL)
            weir_table_add(table, "%lld", (long long)int_of(live, keys[i]));
        else
            weir_table_add(table, "-");
    }
    if (live != NULL)
        weir_table_add(table, "%.0f", json_number_value(json_object_get(live, "rate")));
    else
        weir_table_add(table, "-");
}

static void draw_stages(const json_t *graph, bool live, struct weir_strbuf *out)
{
    static const char *const plain[] = {"STAGE", "KIND", "WHAT", "POOL", "QUEUE", NULL};
    static const char *const lively[] = {"STAGE",    "KIND",     "WHAT",        "POOL",      "QUEUE",
                                         ">DEPTH",   ">RUNNING", ">HANDLED",    ">REJECTED", ">FAILED",
                                         ">EXPIRED", ">DROPPED", ">PER SECOND", NULL};
    struct weir_table table;
    size_t i;
    const json_t *stage;
    weir_table_init(&table, live ? lively : plain);
    json_array_foreach(json_object_get(graph, "stages"), i, stage)
    {
        struct weir_strbuf queue = WEIR_STRBUF_INIT;
        describe_queue(stage, &queue);
        weir_table_add(&table, "%s", text_of(stage, "name"));
        weir_table_add(&table, "%s", text_of(stage, "kind"));
        weir_table_add(&table, "%s", text_of(stage, "what"));
        weir_table_add(&table, "%s", text_of(stage, "pool"));
        weir_table_add(&table, "%s", queue.data != NULL ? queue.data : "");
        if (live)
            add_live(&table, stage);
        weir_strbuf_fini(&queue);
    }
    weir_table_print(&table, out);
    weir_table_fini(&table);
}

/* The policy of the queue in front of stage `name`. */
static const json_t *queue_of(const json_t *graph, const char *name)
{
    size_t i;
    const json_t *stage;
    json_array_foreach(json_object_get(graph, "stages"), i, stage)
    {
        if (strcmp(text_of(stage, "name"), name) == 0)
            return json_object_get(stage, "queue");
    }
    return NULL;
}

static void draw_edges(const json_t *graph, bool live, struct weir_strbuf *out)
{
    static const char *const plain[] = {"FROM", "PORT", "TO", "WHEN FULL", NULL};
    static const char *const lively[] = {"FROM", "PORT", "TO", "WHEN FULL", ">EMITTED", NULL};
    struct weir_table table;
    size_t i;
    const json_t *edge;
    weir_table_init(&table, live ? lively : plain);
    json_array_foreach(json_object_get(graph, "edges"), i, edge)
    {
        bool own = json_object_get(edge, "overflow") != NULL;
        struct weir_strbuf policy = WEIR_STRBUF_INIT;
        add_overflow(own ? edge : queue_of(graph, text_of(edge, "to")), &policy);
        weir_table_add(&table, "%s", text_of(edge, "from"));
        weir_table_add(&table, "%s%s", text_of(edge, "port"),
                       json_is_true(json_object_get(edge, "fan_out")) ? " (copy)" : "");
        weir_table_add(&table, "%s", text_of(edge, "to"));
        weir_table_add(&table, "%s%s", policy.data != NULL ? policy.data : "", own ? " (this edge)" : "");
        if (live)
            weir_table_add(&table, "%lld", (long long)int_of(edge, "emitted"));
        weir_strbuf_fini(&policy);
    }
    weir_table_print(&table, out);
    weir_table_fini(&table);
}

void weir_graph_draw_text(const json_t *graph, struct weir_strbuf *out)
{
    bool live = json_object_get(graph, "state") != NULL;
    size_t i;
    const json_t *pool;
    weir_strbuf_adds(out, text_of(graph, "app"));
    if (live)
        weir_strbuf_addf(out, ", %s", text_of(graph, "state"));
    weir_strbuf_adds(out, "; pools:");
    json_array_foreach(json_object_get(graph, "pools"), i, pool)
    {
        long long min = (long long)int_of(pool, "min"), max = (long long)int_of(pool, "max");
        weir_strbuf_addf(out, "%s %s (%lld", i > 0 ? "," : "", text_of(pool, "name"), min);
        if (max != min)
            weir_strbuf_addf(out, " to %lld", max);
        weir_strbuf_addf(out, " thread%s%s)", max == 1 ? "" : "s",
                         json_is_true(json_object_get(pool, "blocking")) ? ", blocking" : "");
    }
    weir_strbuf_adds(out, "\n\n");
    draw_stages(graph, live, out);
    weir_strbuf_addc(out, '\n');
    draw_edges(graph, live, out);
}

/* For Graphviz and Mermaid: quotes would end the label. */
static void add_label(struct weir_strbuf *out, const char *s, const char *quote)
{
    for (; *s != '\0'; s++) {
        if (*s == '"')
            weir_strbuf_adds(out, quote);
        else if (*s == '\\' && quote[0] == '\\')
            weir_strbuf_adds(out, "\\\\");
        else
            weir_strbuf_addc(out, *s);
    }
}

static void add_live_label(struct weir_strbuf *out, const json_t *stage, const char *line_break)
{
    const json_t *live = json_object_get(stage, "live");
    if (live != NULL)
        weir_strbuf_addf(out, "%s%lld queued, %.0f/s", line_break, (long long)int_of(live, "depth"),
                         json_number_value(json_object_get(live, "rate")));
}

void weir_graph_draw_dot(const json_t *graph, struct weir_strbuf *out)
{
    size_t i;
    const json_t *one;
    weir_strbuf_adds(out, "digraph \"");
    add_label(out, text_of(graph, "app"), "\\\"");
    weir_strbuf_adds(out, "\" {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    json_array_foreach(json_object_get(graph, "stages"), i, one)
    {
        weir_strbuf_addf(out, "  \"%s\" [label=\"%s\\n", text_of(one, "name"), text_of(one, "name"));
        add_label(out, text_of(one, "what"), "\\\"");
        add_live_label(out, one, "\\n");
        bool source = strcmp(text_of(one, "kind"), "source") == 0,
             sink = strcmp(text_of(one, "kind"), "sink") == 0;
        weir_strbuf_addf(out, "\"%s];\n", source ? ", shape=cds" : sink ? ", shape=cylinder" : "");
    }
    json_array_foreach(json_object_get(graph, "edges"), i, one)
    {
        bool own = json_object_get(one, "overflow") != NULL;
        weir_strbuf_addf(out, "  \"%s\" -> \"%s\" [label=\"%s", text_of(one, "from"), text_of(one, "to"),
                         text_of(one, "port"));
        if (own)
            weir_strbuf_addf(out, "\\n%s", text_of(one, "overflow"));
        if (json_object_get(one, "emitted") != NULL)
            weir_strbuf_addf(out, "\\n%lld", (long long)int_of(one, "emitted"));
        weir_strbuf_adds(out, "\"];\n");
    }
    weir_strbuf_adds(out, "}\n");
}

/* Mermaid's names may be words of its own ("end"), so stages are numbered. */
static size_t number_of(const json_t *graph, const char *name)
{
    size_t i;
    const json_t *stage;
    json_array_foreach(json_object_get(graph, "stages"), i, stage)
    {
        if (strcmp(text_of(stage, "name"), name) == 0)
            return i;
    }
    return i;
}

void weir_graph_draw_mermaid(const json_t *graph, struct weir_strbuf *out)
{
    size_t i;
    const json_t *one;
    weir_strbuf_adds(out, "flowchart LR\n");
    json_array_foreach(json_object_get(graph, "stages"), i, one)
    {
        bool source = strcmp(text_of(one, "kind"), "source") == 0,
             sink = strcmp(text_of(one, "kind"), "sink") == 0;
        weir_strbuf_addf(out, "  s%zu%s\"%s<br>", i, source ? "([" : sink ? "[(" : "[", text_of(one, "name"));
        add_label(out, text_of(one, "what"), "#quot;");
        add_live_label(out, one, "<br>");
        weir_strbuf_addf(out, "\"%s\n", source ? "])" : sink ? ")]" : "]");
    }
    json_array_foreach(json_object_get(graph, "edges"), i, one)
    {
        weir_strbuf_addf(out, "  s%zu -->|\"%s", number_of(graph, text_of(one, "from")),
                         text_of(one, "port"));
        if (json_object_get(one, "emitted") != NULL)
            weir_strbuf_addf(out, "<br>%lld", (long long)int_of(one, "emitted"));
        weir_strbuf_addf(out, "\"| s%zu\n", number_of(graph, text_of(one, "to")));
    }
}
