-- A rule that finds nothing may be a rule that can't: each has to find what it is for in a file made here.
local top = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") .. "/../../.."
package.path = top .. "/tests/lint/?.lua;" .. package.path

local rules = require "rules"
local tree = require "tree"

-- The lines of `files` ({path = text}) that a rule complains of, as "path:line".
local function complaints(name, files)
    local list = {}
    for path, text in pairs(files) do
        list[#list + 1] = tree.file(path, text)
    end
    list.top = top
    local found = {}
    for _, rule in ipairs(rules) do
        if rule.name == name then
            rule.check(list, function(file, line)
                found[#found + 1] = file.path .. ":" .. line
            end)
        end
    end
    table.sort(found)
    return found
end

local function long(lines)
    return ("x;\n"):rep(lines)
end

describe("lint", function()
    it("refuses an include of what is not below", function()
        assert.are.same({"host/base/a.c:2"}, complaints("layers", {
            ["host/base/a.c"] = '#include "base/b.h"\n#include "core/c.h"\n',
        }))
        assert.are.same({"host/core/a.c:1"}, complaints("layers", {["host/core/a.c"] = "#include <lua.h>\n"}))
        assert.are.same({"host/io/a.c:1"}, complaints("layers", {["host/io/a.c"] = '#include "local.h"\n'}))
        assert.are.same({"host/cli/run.c:1"}, complaints("layers", {
            ["host/cli/run.c"] = '#include "lua/x.h"\n', ["host/cli/main.c"] = '#include "lua/x.h"\n#include "native/y.h"\n',
        }))
        assert.are.same({"bindings/lua/a.c:1"}, complaints("layers", {["bindings/lua/a.c"] = '#include "runtime/x.h"\n'}))
        assert.are.same({"stages/native/a.c:2"}, complaints("layers", {
            ["stages/native/a.c"] = '#include <weir/plugin.h>\n#include "base/mem.h"\n',
        }))
    end)

    it("refuses banned functions, but not in comments, strings, longer names and members", function()
        assert.are.same({"host/core/a.c:5"}, complaints("banned", {
            ["host/core/a.c"] = '/* strcpy(a, b) */\nputs("atoi(x)");\nweir_free(p); q->free(p); // malloc(1)\n'
                .. "weir_strdup(s);\nfree(p);\n",
        }))
        assert.are.same({"host/core/a.c:1"}, complaints("banned", {
            ["host/core/a.c"] = "typedef struct a b;\ntypedef int (*f_fn)(void);\n",
        }))
        assert.are.same({}, complaints("banned", {["host/base/mem.c"] = "free(p);\n"}))
        assert.are.same({}, complaints("banned", {["host/core/a.c"] = "free(p); /* the library's own memory */\n"}))
        assert.are.same({"host/base/mem.c:1"}, complaints("banned", {["host/base/mem.c"] = "sprintf(p);\n"}))
    end)

    it("refuses long files and functions that do not say why", function()
        assert.are.same({"a.lua:601"}, complaints("sizes", {["a.lua"] = long(601), ["b.lua"] = long(600)}))
        assert.are.same({}, complaints("sizes", {["a.lua"] = "-- longer than 600 lines because\n" .. long(601)}))
        local body = "{\n" .. long(61) .. "}\n"
        assert.are.same({"a.c:2"}, complaints("functions", {["a.c"] = "int f(void)\n" .. body}))
        assert.are.same({}, complaints("functions", {["a.c"] = "/* longer than 60 lines because */\nint f(void)\n" .. body}))
        assert.are.same({}, complaints("functions", {["a.c"] = "int f(void)\n{\n" .. long(59) .. "}\n"}))
    end)

    it("refuses guards that are not made of the path", function()
        local function guarded(name)
            return ("#ifndef %s\n#define %s\n#endif\n"):format(name, name)
        end
        assert.are.same({"host/core/a.h:1", "host/core/b.h:1", "host/core/c.h:1"}, complaints("guards", {
            ["host/core/a.h"] = guarded "WEIR_IO_A_H", ["host/core/b.h"] = "int b;\n", ["host/core/c.h"] = guarded "WEIR_C_H",
            ["host/core/d.h"] = guarded "WEIR_CORE_D_H", ["bindings/native/include/weir/plugin.h"] = guarded "WEIR_PLUGIN_H",
            ["bindings/lua/lua_x.h"] = guarded "WEIR_LUA_X_H",
        }))
    end)

    it("refuses a source that is not built", function()
        assert.are.same({"host/core/b.c:1"}, complaints("listed", {
            ["host/core/a.c"] = "", ["host/core/b.c"] = "", ["host/core/CMakeLists.txt"] = "add_library(core a.c bb.c)\n",
        }))
    end)

    it("refuses tabs, blanks at the end and a missing line break", function()
        assert.are.same({"a.c:1", "a.c:2", "a.c:3"}, complaints("text", {["a.c"] = "\tx;\ny; \nz;"}))
    end)

    it("refuses notes without a number and places of one machine", function()
        assert.are.same({"a.c:1", "a.c:3"}, complaints("notes", {
            ["a.c"] = "// TODO later\n// TODO(#3) soon\n// FIXME\n// todo\n",
        }))
        assert.are.same({"a.c:1"}, complaints("places", {["a.c"] = "/home/me/x\n/usr/home\n/weir/home/\n"}))
    end)

    it("counts lines through comments and strings", function()
        local file = tree.file("a.c", '/* a\nb */ int c = \'"\'; // d "\nchar *e = "f\\"g /* ";\n')
        assert.are.equal(3, #file.code)
        assert.is_truthy(file.code[2]:find("int c"))
        assert.is_nil(file.code[2]:find("b %*/"))
        assert.is_nil(file.code[3]:find("g"))
        assert.is_truthy(file.includes[3]:find("f", 1, true))
    end)
end)
