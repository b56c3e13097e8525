/* io/mime.h - the content type of a file by its name. Pure. Threads: any. */
#ifndef WEIR_IO_MIME_H
#define WEIR_IO_MIME_H

/* "text/html; charset=utf-8" for "a/b.html"; application/octet-stream for what is not known. Static strings.
 */
const char *weir_mime_type(const char *path);

#endif
