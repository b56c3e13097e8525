/* Works on libyaml's events, not on its documents: those would be built in full before depth or size could be
 * refused, would accept repeated keys, and would have aliases expanded. */
#include "config/yaml_doc.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "config/scalar.h"
#include "config/utf8.h"

/* A list or map being filled. */
struct frame {
    struct weir_conf *node;
    const char *key; /* a map's key that waits for its value */
    struct weir_app_mark key_at;
    bool has_key, skip_value;
};

struct doc {
    struct weir_arena *arena;
    struct weir_problems *problems;
    const struct weir_text *source;
    int set;
    struct frame frames[WEIR_YAML_MAX_DEPTH];
    size_t depth, nodes, budget;
    struct weir_conf *root;
    bool seen_document;
};

static struct weir_app_mark to_mark(const struct doc *d, const yaml_mark_t *m)
{
    int line = d->set == 0 ? (int)m->line + 1 : -d->set; /* both bounded by WEIR_YAML_MAX_BYTES */
    return (struct weir_app_mark){line, (int)m->column + 1};
}

/* --- Before parsing: bytes that no text has --- */

/* Advances `*at` past one character and `*m` with it. */
static void advance(const char *text, size_t len, size_t *at, yaml_mark_t *m)
{
    size_t brk = weir_utf8_break(text + *at, len - *at);
    *at += brk != 0 ? brk : weir_utf8_length(text + *at, len - *at);
    m->column = brk != 0 ? 0 : m->column + 1;
    m->line += brk != 0;
}

static bool check_bytes(struct doc *d)
{
    const char *text = d->source->text;
    size_t len = d->source->len;
    yaml_mark_t m = {0, 0, 0};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        weir_problems_error(d->problems, to_mark(d, &m),
                            "the file begins with a byte order mark; save it as UTF-8 without one");
        return false;
    }
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        weir_problems_error(d->problems, to_mark(d, &m), "the file is UTF-16; save it as UTF-8");
        return false;
    }
    for (size_t at = 0; at < len; advance(text, len, &at, &m)) {
        size_t n = weir_utf8_length(text + at, len - at);
        unsigned char byte = (unsigned char)text[at];
        if (n != 0 && !weir_utf8_is_control(text + at, n))
            continue;
        if (n == 0)
            weir_problems_error(d->problems, to_mark(d, &m), "the byte 0x%02x is not valid UTF-8", byte);
        else
            weir_problems_error(d->problems, to_mark(d, &m), "a control character (0x%02x) can't be in YAML",
                                n == 1 ? byte : (unsigned char)text[at + 1]);
        return false;
    }
    return true;
}

/* --- Building the tree --- */

/* Two keys of one map, for sorting: equal names in the order of the file. */
static int compare_entries(const void *left, const void *right)
{
    const struct weir_conf_entry *a = *(const struct weir_conf_entry *const *)left;
    const struct weir_conf_entry *b = *(const struct weir_conf_entry *const *)right;
    int order = strcmp(a->key, b->key);
    return order != 0 ? order : (a > b) - (a < b);
}

static void drop_bad_entries(struct weir_conf *map)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->u.list.count; i++)
        if (map->u.list.entries[i].value != NULL)
            map->u.list.entries[kept++] = map->u.list.entries[i];
    map->u.list.count = kept;
}

/* Reports keys given twice and keeps the first of each. By sorting: a map may have tens of thousands of keys.
 */
static void check_keys_differ(struct doc *d, struct weir_conf *map)
{
    size_t count = map->u.list.count;
    if (count < 2)
        return;
    struct weir_conf_entry **sorted = weir_malloc(count * sizeof *sorted);
    if (sorted == NULL) {
        d->arena->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = &map->u.list.entries[i];
    qsort(sorted, count, sizeof(struct weir_conf_entry *), compare_entries);
    const struct weir_conf_entry *first = sorted[0];
    for (size_t i = 1; i < count; i++) {
        if (strcmp(first->key, sorted[i]->key) != 0) {
            first = sorted[i];
            continue;
        }
        if (d->set != 0)
            weir_problems_error(d->problems, sorted[i]->key_at, "the key '%s' is given twice", first->key);
        else if (first->key_at.line == sorted[i]->key_at.line)
            weir_problems_error(d->problems, sorted[i]->key_at, "the key '%s' is given twice in line %d",
                                first->key, first->key_at.line);
        else
            weir_problems_error(d->problems, sorted[i]->key_at,
                                "the key '%s' is given twice: in line %d and in line %d", first->key,
                                first->key_at.line, sorted[i]->key_at.line);
        sorted[i]->value = NULL;
    }
    weir_free(sorted);
    drop_bad_entries(map);
}

/* Takes `node` as the key that the map on top waits for. */
static void take_key(struct doc *d, struct frame *f, const struct weir_conf *node)
{
    f->has_key = true;
    f->skip_value = true;
    f->key_at = node->at;
    if (node->bad)
        return;
    if (node->kind == WEIR_CONF_LIST || node->kind == WEIR_CONF_MAP)
        weir_problems_error(d->problems, node->at, "a key must be a string, not %s",
                            weir_conf_kind_text(node));
    else if (node->kind != WEIR_CONF_STRING)
        weir_problems_error(d->problems, node->at, "a key must be a string: write \"%s\" in quotes",
                            node->text);
    else if (strlen(node->text) != node->len)
        weir_problems_error(d->problems, node->at, "a key can't hold a NUL");
    else {
        f->key = node->text;
        f->skip_value = false;
    }
}

/* Puts a finished scalar or a fresh list or map where it belongs. */
static void attach(struct doc *d, struct weir_conf *node)
{
    if (d->depth == 0) {
        d->root = node;
        return;
    }
    struct frame *f = &d->frames[d->depth - 1];
    if (f->node->kind == WEIR_CONF_LIST) {
        weir_conf_add(d->arena, f->node, NULL, node->at, node);
    } else if (!f->has_key) {
        take_key(d, f, node);
    } else {
        if (!f->skip_value)
            weir_conf_add(d->arena, f->node, f->key, f->key_at, node);
        f->has_key = false;
    }
}

static bool expects_key(const struct doc *d)
{
    const struct frame *f = d->depth > 0 ? &d->frames[d->depth - 1] : NULL;
    return f != NULL && f->node->kind == WEIR_CONF_MAP && !f->has_key;
}

/* What is said of any node: anchors and tags are refused, and there are not too many. */
static bool check_node(struct doc *d, const yaml_event_t *ev, const yaml_char_t *anchor,
                       const yaml_char_t *tag)
{
    struct weir_app_mark at = to_mark(d, &ev->start_mark);
    if (++d->nodes > WEIR_YAML_MAX_NODES) {
        weir_problems_error(d->problems, at, "more than %d values", WEIR_YAML_MAX_NODES);
        return false;
    }
    if (anchor != NULL)
        weir_problems_error(d->problems, at,
                            "anchors are not supported: write the value out where '*%s' stands",
                            (const char *)anchor);
    if (tag != NULL && strcmp((const char *)tag, "!") != 0)
        weir_problems_error(d->problems, at, "tags are not supported (found '%s')", (const char *)tag);
    return true;
}

static bool on_scalar(struct doc *d, const yaml_event_t *ev)
{
    const char *text = (const char *)ev->data.scalar.value;
    size_t len = ev->data.scalar.length;
    bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, key = expects_key(d);
    if (!check_node(d, ev, ev->data.scalar.anchor, ev->data.scalar.tag))
        return false;
    text = weir_arena_strndup(d->arena, text, len);
    struct weir_conf *node = weir_conf_new_string(d->arena, text, len, to_mark(d, &ev->start_mark));
    if (node == NULL || text == NULL)
        return false;
    struct weir_err err;
    int rc = key ? WEIR_OK : weir_scalar_expand(d->arena, &node->text, &node->len, &d->budget, &err);
    if (rc == WEIR_OK && plain)
        rc = weir_scalar_resolve(node, &err);
    if (rc < 0 && rc != WEIR_E_NOMEM)
        weir_problems_error(d->problems, node->at, "%s", err.text);
    node->bad = rc < 0;
    if (key && plain && strcmp(node->text, "<<") == 0) {
        weir_problems_error(d->problems, node->at,
                            "merge keys ('<<') are not supported: write the values out");
        node->bad = true;
    }
    attach(d, node);
    return rc != WEIR_E_NOMEM;
}

static bool on_alias(struct doc *d, const yaml_event_t *ev)
{
    if (!check_node(d, ev, NULL, NULL))
        return false;
    weir_problems_error(d->problems, to_mark(d, &ev->start_mark),
                        "aliases are not supported: write out what '*%s' stands for",
                        (const char *)ev->data.alias.anchor);
    struct weir_conf *node = weir_conf_new(d->arena, WEIR_CONF_NIL, to_mark(d, &ev->start_mark));
    if (node == NULL)
        return false;
    node->text = "";
    node->bad = true;
    attach(d, node);
    return true;
}

static bool on_open(struct doc *d, const yaml_event_t *ev, enum weir_conf_kind kind)
{
    bool map = kind == WEIR_CONF_MAP;
    if (!check_node(d, ev, map ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor,
                    map ? ev->data.mapping_start.tag : ev->data.sequence_start.tag))
        return false;
    struct weir_app_mark at = to_mark(d, &ev->start_mark);
    if (d->depth == WEIR_YAML_MAX_DEPTH) { /* at once: libyaml takes quadratic time for deep nesting */
        weir_problems_error(d->problems, at, "lists and maps are nested more than %d deep",
                            WEIR_YAML_MAX_DEPTH);
        return false;
    }
    struct weir_conf *node = weir_conf_new(d->arena, kind, at);
    if (node == NULL)
        return false;
    attach(d, node);
    d->frames[d->depth++] = (struct frame){.node = node};
    return true;
}

static bool on_document(struct doc *d, const yaml_event_t *ev)
{
    if (d->seen_document) {
        weir_problems_error(d->problems, to_mark(d, &ev->start_mark),
                            "a second document begins here; an application is one document");
        return false;
    }
    d->seen_document = true;
    return true;
}

/* false: parsing ends here, for a reason that was reported. */
static bool on_event(struct doc *d, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        return on_document(d, ev);
    case YAML_SCALAR_EVENT:
        return on_scalar(d, ev);
    case YAML_ALIAS_EVENT:
        return on_alias(d, ev);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(d, ev, WEIR_CONF_LIST);
    case YAML_MAPPING_START_EVENT:
        return on_open(d, ev, WEIR_CONF_MAP);
    case YAML_MAPPING_END_EVENT:
        check_keys_differ(d, d->frames[d->depth - 1].node);
        d->depth--;
        return true;
    case YAML_SEQUENCE_END_EVENT:
        d->depth--;
        return true;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return true;
    }
    return true;
}

/* --- What libyaml refuses --- */

/* Whether line `number` (from 0) holds a ${…}: unquoted inside brackets, its braces are YAML's, and libyaml's
 * message is of no help then. */
static bool line_has_expansion(const struct doc *d, size_t number)
{
    size_t len;
    const char *line = weir_source_line(d->source, (int)number + 1, &len);
    return memmem(line, len, "${", 2) != NULL;
}

/* Whether the first thing in the line of `m` that is no space is a tab, which is a puzzle since it looks like
 * them. */
static bool indented_by_tab(const struct doc *d, const yaml_mark_t *m)
{
    size_t len, i = 0;
    const char *line = weir_source_line(d->source, (int)m->line + 1, &len);
    while (i < len && line[i] == ' ')
        i++;
    return i < len && line[i] == '\t';
}

static void report_syntax(struct doc *d, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        d->arena->failed = true;
        return;
    }
    yaml_mark_t m = parser->problem_mark;
    const char *hint = "";
    if (line_has_expansion(d, m.line) ||
        (parser->context != NULL && line_has_expansion(d, parser->context_mark.line)))
        hint = " (inside { } or [ ], quote a value that holds ${…})";
    else if (strstr(parser->problem, "cannot start any token") != NULL)
        hint = indented_by_tab(d, &m) ? " (a tab: YAML is indented by spaces)"
                                      : " (quote a value that begins with @, ` or %)";
    if (parser->context != NULL && d->set == 0)
        weir_problems_error(d->problems, to_mark(d, &m), "this is not YAML: %s, %s in line %zu%s",
                            parser->problem, parser->context, parser->context_mark.line + 1, hint);
    else
        weir_problems_error(d->problems, to_mark(d, &m), "this is not YAML: %s%s", parser->problem, hint);
}

/* Runs the parser to the end of the stream. false: it did not get there. */
static bool run(struct doc *d, yaml_parser_t *parser)
{
    for (bool end = false; !end;) {
        yaml_event_t ev;
        if (!yaml_parser_parse(parser, &ev)) {
            report_syntax(d, parser);
            return false;
        }
        end = ev.type == YAML_STREAM_END_EVENT;
        bool ok = on_event(d, &ev);
        yaml_event_delete(&ev);
        if (!ok || d->arena->failed)
            return false;
    }
    return true;
}

struct weir_conf *weir_yaml_parse(struct weir_arena *a, const struct weir_text *source, int set,
                                  struct weir_problems *problems)
{
    struct doc *d = weir_calloc(1, sizeof *d); /* the frames make it too large for the stack of a coroutine */
    if (d == NULL) {
        a->failed = true;
        return NULL;
    }
    d->arena = a;
    d->problems = problems;
    d->source = source;
    d->set = set;
    d->budget = WEIR_YAML_MAX_EXPANDED;
    struct weir_conf *root = NULL;
    yaml_parser_t parser;
    if (check_bytes(d)) {
        if (yaml_parser_initialize(&parser)) {
            yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
            yaml_parser_set_input_string(&parser, (const unsigned char *)source->text, source->len);
            root = run(d, &parser) ? d->root : NULL;
            yaml_parser_delete(&parser);
        } else {
            a->failed = true;
        }
    }
    weir_free(d);
    return root;
}
