/* config/mark.h - where a configured thing was written, for messages. */
#ifndef WEIR_CONFIG_MARK_H
#define WEIR_CONFIG_MARK_H

/* Where in the file something stands. Line and column (in characters) count from 1; line 0 is 'nowhere': a
 * built-in default. A negative line says that the value came from the (-line)-th `--set` of the command line.
 */
struct weir_app_mark {
    int line, column;
};

#endif
