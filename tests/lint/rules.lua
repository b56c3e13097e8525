-- The rules, in the order in which they run: {name, says, check = function(files, complain)}.
local layers = require "layers"

local M = {}

local function rule(name, says, check)
    M[#M + 1] = {name = name, says = says, check = check}
end

local function is_c(file)
    return file.kind == "c" or file.kind == "h"
end

local function is_ours(file) -- C that is part of the product
    return is_c(file) and not file.path:find("^tests/")
end

rule("layers", "a folder includes only what lies below it", layers.check)

-- Function names → what to use; `except` is a pattern of paths that may.
local banned = {
    {"sprintf", "snprintf or base/strbuf.h"}, {"vsprintf", "vsnprintf"}, {"strcpy", "memcpy with a length"},
    {"strcat", "base/strbuf.h"}, {"strncpy", "memcpy with a length"}, {"strtok", "strcspn"}, {"gets", "fgets"},
    {"atoi", "strtol with a check"}, {"atol", "strtol with a check"}, {"atof", "strtod with a check"},
    {"alloca", "weir_malloc"}, {"setjmp", "return codes"}, {"longjmp", "return codes"},
    {"malloc", "weir_malloc", "^host/base/mem%.c$"}, {"calloc", "weir_calloc", "^host/base/mem%.c$"},
    {"realloc", "weir_realloc", "^host/base/mem%.c$"}, {"free", "weir_free", "^host/base/mem%.c$"},
    {"strdup", "weir_strdup", "^host/base/mem%.c$"}, {"asprintf", "weir_asprintf", "^host/base/mem%.c$"},
    {"exit", "an error to the caller", "^host/cli/"}, {"abort", "an error to the caller", "^host/base/sync%.c$"},
    {"printf", "base/log.h or an error", "^host/cli/"},
    {"sleep", "a timer or a condition"}, {"usleep", "a timer or a condition"},
    {"pthread_cancel", "a flag that the thread reads"}, {"pthread_kill", "a flag that the thread reads", "watchdog"},
    {"signal", "sigaction or uv_signal"},
}

rule("banned", "no function that style forbids", function(files, complain)
    for _, file in ipairs(files) do
        local bench = file.path:find("^tests/bench/")
        for number, line in ipairs(is_c(file) and not bench and file.code or {}) do
            for _, ban in ipairs(banned) do
                local name, instead, except = ban[1], ban[2], ban[3]
                local found = line:find("%f[%w_]" .. name .. "%s*%(") and not line:find("[%.>]" .. name .. "%s*%(")
                local allowed = except and (file.path:find(except) or file.path:find("^tests/"))
                local says_why = file.lines[number]:find("/%*.*%w.*%*/")
                if found and not allowed and not says_why then
                    complain(file, number, ("%s(): use %s, or say why not in a comment beside it"):format(name, instead))
                end
            end
            local kind = line:match("%f[%w_]typedef%s+(%l+)")
            if kind == "struct" or kind == "enum" or kind == "union" then
                complain(file, number, "typedef of a struct, enum or union: write its name in full")
            end
        end
    end
end)

rule("sizes", "a file has up to 600 lines", function(files, complain)
    for _, file in ipairs(files) do
        if file.kind ~= "other" and #file.lines > 600 and not file.text:find("longer than 600 lines because") then
            complain(file, #file.lines, "split it, or say 'longer than 600 lines because …' at its top")
        end
    end
end)

rule("functions", "a C function has up to 60 lines", function(files, complain)
    for _, file in ipairs(files) do
        local start
        for number, line in ipairs(is_ours(file) and file.lines or {}) do
            if line == "{" then
                start = number
            elseif line == "}" and start then
                local above = table.concat(file.lines, "\n", math.max(1, start - 12), start)
                if number - start > 60 and not above:find("longer than 60 lines because") then
                    local text = "%d lines; split it, or say 'longer than 60 lines because …' above it"
                    complain(file, start, text:format(number - start))
                end
                start = nil
            end
        end
    end
end)

-- host/core/queue.h may be guarded by WEIR_CORE_QUEUE_H or a longer part of its path; <weir/plugin.h> by WEIR_PLUGIN_H.
rule("guards", "a header has a guard named after its path", function(files, complain)
    for _, file in ipairs(files) do
        if file.kind == "h" then
            local guard = file.text:match("#ifndef (WEIR_[%w_]+_H)\n#define (WEIR_[%w_]+_H)\n")
            local path = file.path:gsub("%.h$", ""):gsub("/weir/", "/"):upper():gsub("[^%w]", "_")
            local tail = guard and guard:match("^WEIR_(.*)_H$")
            local public = file.path:find("/include/weir/")
            local parent, name = file.path:match("([^/]+)/([^/]+)%.h$")
            local shortest = (public or name:find("^" .. parent .. "_")) and name or parent .. "/" .. name
            if file.path:find("_list%.h$") and not guard then
                goto continue -- a table for X-macros, included many times
            elseif not guard then
                complain(file, 1, "no guard '#ifndef WEIR_PATH_H' and '#define' of it below")
            elseif ("_" .. path):sub(-#tail - 1) ~= "_" .. tail or #tail < #shortest then
                complain(file, 1, guard .. " is not made of its path")
            end
            ::continue::
        end
    end
end)

rule("listed", "each C source is named in the CMakeLists.txt of its folder or above", function(files, complain)
    local lists = {}
    for _, file in ipairs(files) do
        local folder = file.path:match("^(.-)/?CMakeLists%.txt$")
        if folder then
            lists[folder] = file.text
        end
    end
    for _, file in ipairs(files) do
        if file.kind == "c" and not file.path:find("^tests/bench/") and not file.path:find("^stages/") then
            local folder, name = file.path:match("^(.*)/([^/]*)%.c$")
            if folder:find("^tests/") then
                name = name:gsub("^test_", "") -- tests are listed by what they test
            end
            local found
            while folder and not found do
                found = lists[folder] and lists[folder]:find("%f[%w_]" .. name .. "%f[^%w_]")
                folder = folder:match("^(.*)/[^/]*$")
            end
            if not found then
                complain(file, 1, "no CMakeLists.txt names it, so it is never built")
            end
        end
    end
end)

rule("text", "no tabs in C and Lua, no trailing blanks, a line break at the end", function(files, complain)
    for _, file in ipairs(files) do
        if file.kind ~= "other" then
            for number, line in ipairs(file.lines) do
                if line:find("[ \t\r]$") then
                    complain(file, number, "blanks at the end of the line")
                end
                if file.kind ~= "sh" and line:find("\t") then
                    complain(file, number, "a tab")
                end
            end
            if file.text ~= "" and file.text:sub(-1) ~= "\n" then
                complain(file, #file.lines, "no line break at the end")
            end
        end
    end
end)

rule("notes", "a TODO carries an issue's number", function(files, complain)
    for _, file in ipairs(files) do
        for number, line in ipairs(file.path:find("/lint/") and {} or file.lines) do
            local bare = line:find("%f[%w]TODO%f[%W]") and not line:find("TODO%(?#%d")
            if bare or line:find("%f[%w]FIXME%f[%W]") or line:find("%f[%w]XXX%f[%W]") then
                complain(file, number, "write TODO(#number) and open that issue")
            end
        end
    end
end)

-- What holds on one machine only has no place in a tree that others check out.
rule("places", "no path of a developer's own machine", function(files, complain)
    for _, file in ipairs(files) do
        for number, line in ipairs(file.path:find("/lint/") and {} or file.lines) do
            for _, pattern in ipairs {"%f[%w/]/home/%w", "%f[%w/]/root/%w", "%f[%w/]/work/", "%f[%w/]/mnt/%w"} do
                if line:find(pattern) then
                    complain(file, number, "a path that others do not have")
                end
            end
        end
    end
end)

rule("luacheck", "luacheck has no warning", function(files, complain)
    local paths = {}
    for _, file in ipairs(files) do
        if file.kind == "lua" then
            paths[#paths + 1] = "'" .. file.path .. "'"
        end
    end
    local options = "--codes --no-self --max-line-length 150 --formatter plain --std lua54+busted"
    local command = "cd '%s' && luacheck %s -- %s 2>&1"
    local output = assert(io.popen(command:format(files.top, options, table.concat(paths, " "))))
    for line in output:lines() do
        local path, number, text = line:match("^(.-):(%d+):%d+: (.*)$")
        if path then
            complain({path = path}, tonumber(number), text)
        elseif line ~= "" then
            complain({path = "luacheck"}, 0, line)
        end
    end
    local ok, _, status = output:close()
    if not ok and status > 2 then
        complain({path = "luacheck"}, 0, "can't be run (scripts/setup --tests installs it)")
    end
end)

return M
