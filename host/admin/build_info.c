/* The WEIR_BUILD_… and WEIR_WITH_… macros come from CMakeLists.txt. */
#include "admin/build_info.h"

#include <jansson.h>
#include <llhttp.h>
#include <uv.h>

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *weir_build_version(void)
{
    return WEIR_BUILD_VERSION;
}

const char *weir_build_type(void)
{
    return WEIR_BUILD_TYPE[0] != '\0' ? WEIR_BUILD_TYPE : "none";
}

const char *weir_build_sanitizers(void)
{
    return WEIR_BUILD_SANITIZE;
}

bool weir_build_testing(void)
{
#ifdef WEIR_TESTING
    return true;
#else
    return false;
#endif
}

const char *weir_build_compiler(void)
{
#ifdef __clang__
    return "clang " TEXT(__clang_major__) "." TEXT(__clang_minor__) "." TEXT(__clang_patchlevel__);
#else
    return "gcc " TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__) "." TEXT(__GNUC_PATCHLEVEL__);
#endif
}

bool weir_build_library(size_t i, struct weir_build_library *ret)
{
    const struct weir_build_library libraries[] = {
        {"lua", WEIR_WITH_LUA},
        {"libuv", uv_version_string()},
        {"llhttp", TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH)},
        {"libyaml", WEIR_WITH_YAML},
        {"jansson", jansson_version_str()},
        {"msgpack-c", WEIR_WITH_MSGPACK},
    };
    if (i >= sizeof libraries / sizeof libraries[0])
        return false;
    *ret = libraries[i];
    return true;
}
