-- What scripts see of Lua's libraries, in the program as a whole: the bounded functions against those of the
-- interpreter that runs this file, and what `libs: safe` says of the rest.
local bin = os.getenv("WEIR_BIN") or "build/dev/weir"

-- Runs in both: a text of all that the functions answer.
local corpus = [==[
local out = {}
local function note(...)
    local values = table.pack(...)
    for i = 1, values.n do
        values[i] = tostring(values[i]):gsub("^[^:]*:%d+: ", "")
    end
    out[#out + 1] = table.concat(values, "|", 1, values.n)
end
local function try(f, ...)
    note(pcall(f, ...))
end

local seed = 42
local function pick(n)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed // 65536 % n + 1
end
local pieces = {"a", "b", ".", "%a", "%d", "%s", "[ab]", "[^a]", "[%w_]", "(", ")", "()", "*", "+", "-", "?", "%1",
    "%b()", "%f[a]", "$", "^", "%%", "[", "x", ".-"}
local letters = {"a", "a", "a", "b", "b", "(", ")", " ", "1", "x", "_", "\0"}
local function make(list, max)
    local parts = {}
    for i = 1, pick(max) - 1 do
        parts[i] = list[pick(#list)]
    end
    return table.concat(parts)
end
for _ = 1, 5000 do
    local subject, pattern = make(letters, 20), make(pieces, 7)
    try(string.find, subject, pattern, pick(5) - 2)
    try(string.match, subject, pattern)
    try(string.gsub, subject, pattern, "<%0>")
    try(function()
        local all = {}
        for a, b in subject:gmatch(pattern) do
            all[#all + 1] = tostring(a) .. tostring(b)
        end
        return table.concat(all, ",")
    end)
end

for size = 0, 40 do
    local list = {}
    for i = 1, size do
        list[i] = pick(30)
    end
    table.sort(list)
    note(table.concat(list, " "))
    table.sort(list, function(a, b) return a > b end)
    note(table.concat(list, " "))
    local at = pick(size + 1)
    table.insert(list, at, -1)
    note(table.concat(list, " "), table.remove(list, at))
    note(table.concat(table.move(list, 1, #list, 3), " ", 1, #list))
end
for _ = 1, 500 do
    local text = make({"a", "ß", "€", "\u{10348}", "\x80", "\xff", "\xed\xa0\x80"}, 12)
    try(utf8.len, text)
    try(utf8.len, text, 1, -1, true)
    try(utf8.offset, text, pick(9) - 5)
    try(utf8.codepoint, text, 1, -1)
    note(text:upper(), text:lower(), text:reverse(), text:rep(pick(4) - 1, ","))
end
try(load, "return 1 +")
try(load, "x = ", "=name")
note(load("return ...", "n", "t", {})(5))
note(tonumber("0x10"), tonumber("z", 36), tonumber("1e1"), tonumber("x"), tonumber(" 5 "))
note(string.format("%5.2f %q %s %x %c", 3.14159, "a\n\0b", true, 255, 65))
note(string.pack(">I2z", 513, "ab"):byte(1, -1))
return table.concat(out, "\n")
]==]

-- Makes an application of one handler and runs `weir check` on it: what it says, and the text of the file `out` if the
-- script wrote one.
local function check(libs, script)
    local folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir '" .. folder .. "'"))
    local function write(name, text)
        local file = assert(io.open(folder .. "/" .. name, "w"))
        file:write(text)
        file:close()
    end
    write("weir.yaml", 'weir: 1\nname: sandbox\nstages:\n  web: {source: http, listen: "127.0.0.1:0", to: run}\n'
        .. "  run: {handler: run.lua, libs: " .. libs .. ", limits: {cpu: 60s}}\n")
    write("run.lua", script)
    write("corpus.lua", corpus)
    local pipe = assert(io.popen(("WEIR_OUT='%s/out' '%s' check '%s' 2>&1"):format(folder, bin, folder)))
    local said = pipe:read("a")
    pipe:close()
    local file = io.open(folder .. "/out")
    local text = file and file:read("a")
    if file then
        file:close()
    end
    os.execute("rm -r '" .. folder .. "'")
    return said, text
end

describe("the libraries of a handler", function()
    it("answer as the interpreter's own do", function()
        local said, got = check("all", [[
            local text = require "corpus"
            local file = assert(io.open(os.getenv "WEIR_OUT", "w"))
            file:write(text)
            file:close()
            return function() end
        ]])
        local want = assert(load(corpus, "@corpus.lua"))()
        assert.is_string(got, said)
        local want_line = want:gmatch("[^\n]*")
        for line in got:gmatch("[^\n]*") do
            assert.are.equal(want_line(), line)
        end
        assert.are.equal(#want, #got)
    end)

    for use, says in pairs {
        ["io.open('/etc/passwd')"] = "io.open is not in libs: safe; use weir.fs.read",
        ["os.execute('true')"] = "os.execute is not in libs: safe; use weir.spawn (libs: all)",
        ["os.getenv('HOME')"] = "os.getenv is not in libs: safe; use `config:` of the stage",
        ["require 'socket'"] = "; use weir.tcp",
        ["require '../x'"] = "is no module's name",
        ["load(string.dump(print))"] = "string.dump is not in libs: safe",
        ["setmetatable({}, {__gc = print})"] = "__gc is not in libs: safe",
        ["require('weir').emit = nil"] = "weir.emit can't be set: weir is the host's, and read-only",
        ["('a'):rep(40):find(('.-'):rep(12) .. 'b')"] = "string.find: the pattern took too many steps (limit 4000160)",
        ["table.move({1}, 1, 1e9, 2)"] = "table.move: 1000000000 elements are too many at once",
    } do
        it("say what is wrong with " .. use, function()
            local said = check("safe", "local x\n" .. use .. "\nreturn function() end")
            assert.is_truthy(said:find(says, 1, true), said)
            assert.is_truthy(said:find("run.lua:2:", 1, true) or said:find("require:", 1, true), said)
        end)
    end
end)
