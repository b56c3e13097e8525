/* bindings/lua/stock.h - the Lua modules that come with weir (stages/lua), as text in the program. */
#ifndef WEIR_LUA_STOCK_H
#define WEIR_LUA_STOCK_H

#include <stddef.h>

struct weir_stock_module {
    const char *name; /* "weir.degrade"; NULL: the end */
    const unsigned char *text;
    size_t len;
};

/* Made by CMake. */
extern const struct weir_stock_module weir_stock_modules[];

#endif
