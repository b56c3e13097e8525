/* config/yaml_doc.h - YAML text to a tree with positions. What an application does not need is refused, each
 * with its place: anchors, aliases, merge keys, tags, more than one document, keys that are not strings, keys
 * given twice. Bounds: WEIR_YAML_MAX_… below; memory is a small multiple of the text's size. One thread. */
#ifndef WEIR_CONFIG_YAML_DOC_H
#define WEIR_CONFIG_YAML_DOC_H

#include "config/arena.h"
#include "config/conf_node.h"
#include "config/problems.h"

#define WEIR_YAML_MAX_BYTES    ((size_t)1 << 20)
#define WEIR_YAML_MAX_DEPTH    64
#define WEIR_YAML_MAX_NODES    100000
#define WEIR_YAML_MAX_EXPANDED ((size_t)4 << 20) /* what ${…} may add */

/* Parses a source. `set` is 0 for the file, n for the n-th `--set` (all marks say so then). Problems go to
 * `problems`; NULL: the text can't be read at all, or holds nothing (no problem is reported for that), or
 * there is no memory (the arena has failed). A tree may come with problems: what they are about is marked bad
 * in it, or left out. */
struct weir_conf *weir_yaml_parse(struct weir_arena *a, const struct weir_text *source, int set,
                                  struct weir_problems *problems);

#endif
