-- bindings/lua/weir/meta.lua, the editor types, against the binding itself: every function and field there is, both ways.
local bin = os.getenv("WEIR_BIN") or "build/dev/weir"

-- Runs while the script is being loaded by `weir check`; libs: all lets it look into the registry and write a file.
local dump = [[
local weir = require "weir"
local out = assert(io.open(os.getenv "WEIR_META_OUT", "w"))
local function walk(name, t)
    for key, value in pairs(t) do
        if type(value) == "table" then
            walk(name .. "." .. key, value)
        else
            out:write(name, type(value) == "function" and "()" or "", " ", key, "\n")
        end
    end
end
walk("weir", weir)
local registry = debug.getregistry()
local handle = debug.upvalueid(function() return out end, 1) -- a light userdata, as a request is
local _, names = debug.getupvalue(debug.getmetatable(handle).__index, 1)
for key, value in pairs(names) do
    out:write("Request", type(value) == "function" and "()" or "", " ", key, "\n")
end
_, names = debug.getupvalue(registry["weir.conn"].__index, 1)
for key, value in pairs(names) do
    out:write("Conn", type(value) == "function" and "()" or "", " ", key, "\n")
end
for meta, class in pairs {shared = "Shared", counter = "Counter", gauge = "Gauge", histogram = "Histogram"} do
    for key in pairs(registry["weir." .. meta].__index) do
        out:write(class, "() ", key, "\n")
    end
end
for meta, class in pairs {["weir.timer"] = "Timer", ["weir.http.answer"] = "HttpAnswer", ["weir.tcp"] = "Connection"} do
    for key in pairs(registry[meta].__index) do
        out:write(class, "() ", key, "\n")
    end
end
for key in pairs(registry["weir.stream"].__index) do
    out:write("Stream() ", key, "\n")
end
out:close()
return function() end
]]

-- Stage snapshots and meta are made by calls, which `weir check` does not make: their names are read from the binding's source.
local function fields_of_source(path, from, to)
    local text = assert(io.open(path)):read("a")
    local body = text:sub(assert(text:find(from, 1, true)), assert(text:find(to, text:find(from, 1, true), true)))
    local names = {}
    for name in body:gmatch('{"([%w_]+)",') do
        names[name] = true
    end
    for name in body:gmatch('lua_setfield%(L, %-2, "([%w_]+)"%)') do
        names[name] = true
    end
    for name in body:gmatch('set_number%(L, "([%w_]+)"') do
        names[name] = true
    end
    return names
end

local function of_binding()
    local folder = os.tmpname()
    assert(os.remove(folder))
    assert(os.execute("mkdir '" .. folder .. "'"))
    local function write(name, text)
        local file = assert(io.open(folder .. "/" .. name, "w"))
        file:write(text)
        file:close()
    end
    write("weir.yaml", 'weir: 1\nname: meta\nstages:\n  web: {source: http, listen: "127.0.0.1:0", to: dump}\n'
        .. "  dump: {handler: dump.lua, libs: all}\n")
    write("dump.lua", dump)
    local command = ("WEIR_META_OUT='%s/out' '%s' check '%s' 2>&1"):format(folder, bin, folder)
    local pipe = assert(io.popen(command))
    local said = pipe:read("a")
    pipe:close()
    local names = {}
    local file = assert(io.open(folder .. "/out"), said)
    for line in file:lines() do
        names[line] = true
    end
    file:close()
    os.execute("rm -r '" .. folder .. "'")
    return names
end

local function of_meta()
    local names, classes, class = {}, {}, nil
    for line in io.lines("bindings/lua/weir/meta.lua") do
        class = line:match("^%-%-%-@class ([%w.]+)") or class
        local field = line:match("^%-%-%-@field ([%w_]+)")
        if field then
            classes[class] = classes[class] or {}
            classes[class][field] = true
        end
        local owner, name = line:match("^function ([%w.]+)[.:]([%w_]+)%(")
        if owner then
            names[owner .. "() " .. name] = true
        end
    end
    for full, prefix in pairs {weir = "weir", ["weir.json"] = "weir.json", ["weir.Request"] = "Request", ["weir.Conn"] = "Conn"} do
        for field in pairs(classes[full]) do
            names[prefix .. " " .. field] = true
        end
    end
    return names, classes
end

local function sorted(set)
    local list = {}
    for name in pairs(set) do
        list[#list + 1] = name
    end
    table.sort(list)
    return list
end

describe("the editor types", function()
    it("have every function and field that there is, and no other", function()
        assert.are.same(sorted(of_binding()), sorted((of_meta())))
    end)

    it("name the counters of a stage", function()
        local names = fields_of_source("bindings/lua/api_stage.c", "static int push_snapshot", "\n}\n")
        local _, classes = of_meta()
        assert.are.same(sorted(names), sorted(classes["weir.Stage"]))
    end)

    it("name what meta tells", function()
        local names = fields_of_source("bindings/lua/api.c", "static void set_trace", "weir_api_open(lua_State")
        local _, classes = of_meta()
        assert.are.same(sorted(names), sorted(classes["weir.Meta"]))
    end)
end)
