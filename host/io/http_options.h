/* io/http_options.h - what may be said of an HTTP source in weir.yaml (its type, weir_http_source_type, is
 * there, too), and what was. Pure. */
#ifndef WEIR_IO_HTTP_OPTIONS_H
#define WEIR_IO_HTTP_OPTIONS_H

struct weir_conf;
struct weir_http_settings;

/* The limits and times of checked options; what belongs to the source (names, TLS, pages) is left as it is by
 * default. */
void weir_http_options_read(const struct weir_conf *options, struct weir_http_settings *ret);

#endif
