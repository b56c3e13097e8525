-- Who may include whom. Quoted includes start at a folder: "core/queue.h" is host/core/queue.h.
local M = {}

local below = { -- of each folder: the folders of host/ whose headers it may include, beside its own
    ["host/base"] = {},
    ["host/core"] = {"base"},
    ["host/config"] = {"base", "core"},
    ["host/controller"] = {"base", "core", "config"},
    ["host/io"] = {"base", "core", "config"},
    ["host/loader"] = {"base", "core", "config"},
    ["host/runtime"] = {"base", "core", "config", "controller", "io", "loader"},
    ["host/admin"] = {"base", "core", "config", "controller", "io", "loader", "runtime"},
    ["host/cli"] = {"base", "core", "config", "controller", "io", "loader", "runtime", "admin"},
    ["bindings/lua"] = {"base", "core", "config", "controller", "io"},
    ["bindings/native"] = {"base", "core", "config", "io"},
    ["stages/native"] = {},
}

local function folder_of(path)
    for folder in pairs(below) do
        if path:sub(1, #folder + 1) == folder .. "/" then
            return folder
        end
    end
    return nil
end

local function contains(list, word)
    for _, one in ipairs(list) do
        if one == word then
            return true
        end
    end
    return false
end

local function check_quoted(file, folder, header, complain, number)
    local target = header:match("^([%w_]+)/")
    if not target then
        return complain(file, number, ('"%s": start at the folder, "%s/%s"'):format(header, folder:match("[^/]*$"), header))
    end
    local own = folder:match("[^/]*$")
    local binding = target == "lua" or target == "native"
    if binding and target ~= own and file.path ~= "host/cli/main.c" then
        complain(file, number, ('"%s": only host/cli/main.c names the bindings'):format(header))
    elseif not binding and target ~= own and not contains(below[folder], target) then
        complain(file, number, ('"%s": %s is not below %s'):format(header, target, folder))
    end
end

local function check_library(file, folder, header, complain, number)
    local is_lua = header:find("^lua") or header == "lauxlib.h"
    if is_lua and folder ~= "bindings/lua" then
        complain(file, number, ("<%s>: only bindings/lua knows Lua"):format(header))
    elseif folder == "stages/native" and (header == "uv.h" or is_lua) then
        complain(file, number, ("<%s>: stages see <weir/*.h> and the C library only"):format(header))
    end
end

function M.check(files, complain)
    for _, file in ipairs(files) do
        local folder = file.includes and folder_of(file.path)
        for number, line in ipairs(folder and file.includes or {}) do
            local quoted, library = line:match('^%s*#%s*include%s+"([^"]+)"'), line:match("^%s*#%s*include%s+<([^>]+)>")
            if quoted then
                check_quoted(file, folder, quoted, complain, number)
            elseif library then
                check_library(file, folder, library, complain, number)
            end
        end
    end
end

return M
