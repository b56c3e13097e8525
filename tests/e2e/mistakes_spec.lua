-- Mistakes that people make, and what they are told: the place, what is wrong, what was expected, exit status 78. Each row is
-- tried with `weir check` and with `weir run`.
local program = require "tests.e2e.program"

local head = 'weir: 1\nstages:\n  web: {source: http, listen: "127.0.0.1:0", to: page}\n'
local fine = "return function(req) req:reply(200) end\n"

-- what; yaml or lua; place (a prefix of a line); texts that the message has; `only`: the command that finds it
local mistakes = {
    {"a key that does not exist", yaml = head .. "  page: {handler: page.lua, queue: {capcity: 5}}\n",
     place = "weir.yaml:4:37", "capcity", "did you mean 'capacity'?"},
    {"a top-level key that does not exist", yaml = "weir: 1\nstage: {}\nstages: {}\n", place = "weir.yaml:2:1", "'stage'",
     "did you mean 'stages'?"},
    {"the version of the format is missing", yaml = head:gsub("weir: 1\n", "") .. "  page: {handler: page.lua}\n",
     place = "weir.yaml:1:1", "weir: 1"},
    {"a stage that does not exist", yaml = head:gsub("page}", "pgae}") .. "  page: {handler: page.lua}\n",
     place = "weir.yaml:3:50", "'pgae'", "did you mean 'page'?"},
    {"a key written twice", yaml = head .. "  page: {handler: page.lua}\n  page: {handler: page.lua}\n",
     place = "weir.yaml:5:3", "page", "4"},
    {"a tab for indentation", yaml = "weir: 1\nstages:\n\tweb: {source: http}\n", place = "weir.yaml:3:1", "tab"},
    {"a bracket that is not closed", yaml = head .. "  page: {handler: page.lua\n", place = "weir.yaml:", "expected"},
    {"a number that is none", yaml = head .. "  page: {handler: page.lua, queue: {capacity: lots}}\n",
     place = "weir.yaml:4:47", "expected a whole number", "'lots'"},
    {"a number out of range", yaml = head .. "  page: {handler: page.lua, queue: {capacity: 0}}\n", place = "weir.yaml:4:47",
     "from 1", "'0'"},
    {"a duration without a unit", yaml = head:gsub("to: page", "deadline: 5, to: page") .. "  page: {handler: page.lua}\n",
     place = "weir.yaml:3:56", "'5'", "unit"},
    {"a size with a unit that does not exist", yaml = head .. "  page: {handler: page.lua, limits: {memory: 64Mega}}\n",
     place = "weir.yaml:4:46", "'64Mega'", "MiB"},
    {"a policy that does not exist", yaml = head .. "  page: {handler: page.lua, queue: {overflow: drop}}\n",
     place = "weir.yaml:4:47", "'drop'", "drop_newest"},
    {"a pool that does not exist", yaml = head .. "  page: {handler: page.lua, pool: dsik}\npools: {disk: {threads: 2}}\n",
     place = "weir.yaml:4:35", "'dsik'", "did you mean 'disk'?"},
    {"a source that does not exist", yaml = head:gsub("http", "htpp") .. "  page: {handler: page.lua}\n",
     place = "weir.yaml:3:17", "'htpp'", "http"},
    {"an option that the source does not have", yaml = head:gsub("listen:", "lisen:") .. "  page: {handler: page.lua}\n",
     place = "weir.yaml:3:23", "lisen", "did you mean 'listen'?"},
    {"an address that is none", yaml = head:gsub("127.0.0.1:0", "127.0.0.1:70000") .. "  page: {handler: page.lua}\n",
     place = "weir.yaml:3:31", "65535"},
    {"a stage of two kinds", yaml = head .. "  page: {handler: page.lua, sink: 'null'}\n", place = "weir.yaml:4:", "handler",
     "sink"},
    {"a stage of no kind", yaml = head .. "  page: {queue: {capacity: 5}}\n", place = "weir.yaml:4:", "handler"},
    {"a stage that no source reaches", yaml = head .. "  page: {handler: page.lua}\n  other: {handler: page.lua}\n",
     place = "weir.yaml:5:3", "other"},
    {"a script that does not exist", yaml = head .. "  page: {handler: pgae.lua}\n", place = "weir.yaml:4:19", "pgae.lua",
     "no such file"},
    {"an environment variable that is not set", yaml = head .. "  page: {handler: '${WEIR_TEST_NO_SUCH}'}\n",
     place = "weir.yaml:4:", "WEIR_TEST_NO_SUCH"},
    {"a cycle of edges that wait", yaml = head .. "  page: {handler: page.lua, to: {next: {stage: page, overflow: wait}}}\n",
     place = "weir.yaml:4:", "wait"},
    {"requests sent to a list", yaml = head:gsub("to: page", "to: [page, other]") ..
        "  page: {handler: page.lua}\n  other: {handler: page.lua}\n", place = "weir.yaml:3:50", "makes requests",
     "several stages"},
    {"requests sent to a list by a port", yaml = head:gsub("to: page", "to: {out: [page, other]}") ..
        "  page: {handler: page.lua}\n  other: {handler: page.lua}\n", place = "weir.yaml:3:51", "makes requests",
     "several stages"},
    {"a class that does not exist", yaml = head:gsub("to: page", "class: golf, to: page") ..
        "  page: {handler: page.lua}\nclasses: [gold, bulk]\n", place = "weir.yaml:3:53", "expected gold or bulk", "did you mean 'gold'?"},
    {"a network that is none", yaml = head:gsub("to: page", "class: {address: {10.0.0.0/33: normal}}, to: page") ..
        "  page: {handler: page.lua}\n", place = "weir.yaml:3:64", "'10.0.0.0/33'", "from 0 to 32"},
    {"a classifier that does not exist", yaml = head:gsub("to: page", "class: {script: absent.lua}, to: page") ..
        "  page: {handler: page.lua}\n", place = "weir.yaml:3:62", "absent.lua", "No such file"},
    {"a classifier with a syntax error", yaml = head:gsub("to: page", "class: {script: class.lua}, to: page") ..
        "  page: {handler: page.lua}\n", files = {["class.lua"] = "return function(req)\n"}, place = "class.lua:", "'end' expected"},
    {"a classifier that returns nothing", yaml = head:gsub("to: page", "class: {script: class.lua}, to: page") ..
        "  page: {handler: page.lua}\n", files = {["class.lua"] = "local x = 1\n"}, place = "class.lua:1:", "must return a function",
     "returned nothing"},
    {"a page for rejections with a key that does not exist", yaml = head:gsub("to: page", "on_reject: {stauts: 503}, to: page") ..
        "  page: {handler: page.lua}\n", place = "weir.yaml:3:58", "stauts", "did you mean 'status'?"},
    {"a script for rejections that does not exist", yaml = head:gsub("to: page", "on_reject: absent.lua, to: page") ..
        "  page: {handler: page.lua}\n", place = "weir.yaml:3:57", "absent.lua", "No such file"},
    {"a library that does not exist", yaml = head .. "  page: {handler: page.lua, libs: [sting]}\n", place = "weir.yaml:4:36",
     "'sting'", "did you mean 'string'?"},

    {"a syntax error", lua = "return function(req)\n  req:reply(200\nend\n", place = "page.lua:3:", "')' expected", "'end'"},
    {"a script that returns nothing", lua = "local M = {}\nfunction M.handle() end\n", place = "page.lua:2:", "handle",
     "returned nothing"},
    {"a table without a handler", lua = "local M = {}\nfunction M.handel() end\nreturn M\n", place = "page.lua:3:",
     "neither `handle` nor `handle_batch`"},
    {"a script that returns a number", lua = "return 42\n", place = "page.lua:1:", "a function", "number"},
    {"both kinds of handler", lua = "local function f() end\nreturn {handle = f, handle_batch = f}\n", place = "page.lua:2:",
     "both `handle` and `handle_batch`"},
    {"a handler that is no function", lua = "return {handle = 'x'}\n", place = "page.lua:1:", "`handle` must be a function",
     "string"},
    {"a script that raises", lua = "local t = nil\nlocal x = t.field\nreturn function() return x end\n", place = "page.lua:2:",
     "index a nil value (local 't')"},
    {"a module that does not exist", lua = "local m = require 'absent'\nreturn function() return m end\n",
     place = "page.lua:1:", "'absent'", "absent.lua"},
    {"a module with a syntax error", lua = "local m = require 'broken'\nreturn function() return m end\n",
     files = {["broken.lua"] = "local x =\n"}, place = "page.lua:1:", "broken.lua:2:", "unexpected symbol"},
    {"bytecode", lua = "\27Lua\x54\0\x19\x93\r\n\x1a\n", place = "page.lua:1:", "bytecode"},
    {"a library that was not asked for", lua = "local f = io.open('x')\nreturn function() return f end\n", place = "page.lua:1:",
     "io.open", "safe"},
    {"more memory than a VM may have", lua = "local t = {}\nfor i = 1, 1e9 do t[i] = ('x'):rep(3e7) .. i end\nreturn t\n",
     place = "page.lua:1:", "memory"},
    {"an init that raises", only = "run", lua = "local M = {}\nfunction M.init()\n  error('no title')\nend\n" ..
     "function M.handle() end\nreturn M\n", place = "page.lua:3:", "no title"},
}

local function has_line(text, prefix)
    return ("\n" .. text):find("\n" .. prefix, 1, true) ~= nil
end

describe("weir tells the place and the cause of", function()
    local place

    before_each(function()
        place = program.place()
    end)

    after_each(function()
        program.clean()
    end)

    local function try(mistake, arguments)
        local status, stdout, stderr = place:weir(arguments)
        local shown = table.concat(arguments, " ") .. " said:\n" .. stderr
        assert.are.equal(78, status, shown)
        assert.are.equal("", stdout)
        assert.is_true(has_line(stderr, mistake.place), "no line begins with " .. mistake.place .. "; " .. shown)
        for i = 2, #mistake do
            assert.is_truthy(stderr:find(mistake[i], 1, true), "no '" .. mistake[i] .. "'; " .. shown)
        end
    end

    for _, mistake in ipairs(mistakes) do
        it(mistake[1], function()
            place:write("weir.yaml", mistake.yaml or head .. "  page: {handler: page.lua}\n")
            place:write("page.lua", mistake.lua or fine)
            for name, text in pairs(mistake.files or {}) do
                place:write(name, text)
            end
            if mistake.only ~= "run" then
                try(mistake, {"check"})
            end
            try(mistake, {"run", "--admin", "none"})
        end)
    end

    it("several mistakes at once, all of them", function()
        place:write("weir.yaml", head .. "  page: {handler: page.lua, queue: {capcity: 5}, pool: dsik, limits: {memory: 1X}}\n")
        place:write("page.lua", fine)
        local status, _, stderr = place:weir {"check"}
        assert.are.equal(78, status)
        for _, text in ipairs {"capcity", "dsik", "1X", "3 errors"} do
            assert.is_truthy(stderr:find(text, 1, true), stderr)
        end
    end)

    it("mistakes in weir.yaml, of the graph and in scripts, all of them", function()
        place:write("weir.yaml", head .. "  page: {handler: page.lua, to: otehr, pool: dsik}\n" ..
            "  other: {handler: other.lua, to: other, queue: {overflow: wait}}\n" ..
            "  third: {handler: absent.lua}\n  fourth: {handler: fourth.lua, libs: [sting]}\n")
        place:write("page.lua", "return 42\n")
        place:write("other.lua", "retrun 42\n")
        place:write("fourth.lua", "string.rep('x')\n")
        for _, arguments in ipairs {{"check"}, {"run", "--admin", "none"}} do
            local status, stdout, stderr = place:weir(arguments)
            assert.are.equal(78, status)
            assert.are.equal("", stdout)
            for _, text in ipairs {"otehr", "dsik", "wait for each other", "absent.lua", "'sting'",
                "5 errors, and 2 scripts can't be loaded"} do
                assert.is_truthy(stderr:find(text, 1, true), "no '" .. text .. "' in\n" .. stderr)
            end
            assert.is_true(has_line(stderr, "page.lua:"), stderr)
            assert.is_true(has_line(stderr, "other.lua:1:"), stderr)
            assert.is_false(has_line(stderr, "absent.lua:"), stderr)
            assert.is_false(has_line(stderr, "fourth.lua:"), stderr)
            assert.is_nil(stderr:find("no source reaches", 1, true), stderr)
        end
    end)

    it("a mistake in weir.yaml, and a script that never ends loading", function()
        place:write("weir.yaml", head:gsub("weir: 1\n", "") .. "  page: {handler: page.lua, limits: {cpu: 200ms}}\n")
        place:write("page.lua", "local x = 0\nwhile true do x = x + 1 end\n")
        local status, _, stderr = place:weir {"check"}
        assert.are.equal(78, status)
        assert.is_truthy(stderr:find("is missing", 1, true), stderr)
        assert.is_true(has_line(stderr, "page.lua:2: ended: over limits.cpu (200ms)"), stderr)
    end)

    it("stages that could wait for each other by a call and a wait for room: a warning", function()
        place:write("weir.yaml", head ..
            "  page: {handler: page.lua, to: {ask: other}, queue: {overflow: wait}}\n  other: {handler: other.lua, to: page}\n")
        place:write("page.lua", "return function(req)\n    local answer = weir.call('ask', 1)\n    req:reply(200, answer)\nend\n")
        place:write("other.lua", "return function(event) weir.answer(event) end\n")
        local status, stdout, stderr = place:weir {"check"}
        assert.are.equal(0, status, stderr)
        assert.is_truthy(stdout:find("^ok: 3 stages"), stdout)
        assert.is_true(has_line(stderr, "weir.yaml:4:39: warning: "), stderr)
        assert.is_truthy(stderr:find("page calls other, other waits for room in page", 1, true), stderr)
        place:write("page.lua", "-- weir.call('ask', 1)\nreturn function(req) req:reply(200) end\n")
        status, stdout, stderr = place:weir {"check"}
        assert.are.equal(0, status, stderr)
        assert.is_truthy(stdout:find("^ok: 3 stages"), stdout)
        assert.are.equal("", stderr)
    end)

    it("mistakes in several scripts, all of them", function()
        place:write("weir.yaml", head ..
            "  page: {handler: page.lua, to: other}\n  other: {handler: other.lua}\n")
        place:write("page.lua", "return 42\n")
        place:write("other.lua", "retrun 42\n")
        for _, arguments in ipairs {{"check"}, {"run", "--admin", "none"}} do
            local status, _, stderr = place:weir(arguments)
            assert.are.equal(78, status)
            assert.is_true(has_line(stderr, "page.lua:"), stderr)
            assert.is_true(has_line(stderr, "other.lua:1:"), stderr)
        end
    end)
end)
