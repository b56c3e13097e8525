-- weir test and weir new, as their users type them. What specs can do with weir.test is itself in specs: tests/e2e/under_test.
local program = require "tests.e2e.program"

local here = program.root .. "/tests/e2e/under_test/"
local shop_files = {"shop/README.md", "shop/page.lua", "shop/spec/shop_spec.lua", "shop/weir.yaml"}

local function has(text, part)
    assert.is_truthy(text:find(part, 1, true), ("no '%s' in:\n%s"):format(part, text))
end

describe("weir test", function()
    local place

    before_each(function()
        place = program.place()
    end)
    after_each(program.clean)

    local function copy(from, to)
        place:write(to, assert(program.read(here .. from), from))
    end

    -- `passed` counts, so that a spec that is not run is noticed.
    local function passes(passed, ...)
        local status, out, err = place:weir {"test", ...}
        assert.are.equal(0, status, out .. err)
        has(out, passed .. " successes / 0 failures / 0 errors / 0 pending")
        assert.are.equal("", err)
    end

    it("drives one stage: events, requests, the clock, fakes, faults, limits", function()
        for _, name in ipairs {"all.lua", "batch.lua", "small.txt"} do
            copy(name, name)
        end
        copy("stage.lua", "spec/stage_spec.lua")
        place:write("loops.lua", "while true do end\n")
        passes(26)
    end)

    it("drives a whole application in process", function()
        for _, name in ipairs {"weir.yaml", "route.lua", "work.lua"} do
            copy("two/" .. name, "two/" .. name)
        end
        copy("two/app.lua", "two/spec/app_spec.lua")
        passes(4, "two")
        assert.is_nil(program.read(place.home .. "/two/never.log")) -- its file sink has written nothing
    end)

    it("finds the application around a spec, and runs one file", function()
        place:write("app/weir.yaml", "weir: 1\nstages:\n  t: {source: timer, every: 1s, to: h}\n  h: {handler: h.lua}\n")
        place:write("app/h.lua", "return function() end\n")
        place:write("app/deep/er/one_spec.lua", [[
            local t = require "weir.test"
            it("is in the application's folder", function()
                assert.is_nil(t.stage("h.lua"):handle(1).failed)
                assert.are.equal(1, t.app():send("t", 1).app:ledger("h").handled)
            end)]])
        place:write("app/deep/er/two_spec.lua", "it('is another file', function() error() end)")
        local status, out = place:weir {"test", "app/deep/er/one_spec.lua"}
        assert.are.equal(0, status, out)
        has(out, "1 success /")
    end)

    it("fails with the failing test's place", function()
        place:write("spec/bad_spec.lua",
            "it('fails', function()\n    assert.are.equal(1, 2)\nend)\nit('passes', function() end)\n")
        local status, out = place:weir {"test"}
        assert.are.equal(1, status)
        has(out, "1 success / 1 failure / 0 errors")
        has(out, "spec/bad_spec.lua:2: Expected objects to be equal.")
    end)

    it("fails on a spec that is no Lua", function()
        place:write("spec/bad_spec.lua", "this is (not Lua\n")
        local status, out = place:weir {"test"}
        assert.are.equal(1, status)
        has(out, "spec/bad_spec.lua:1: syntax error near 'is'")
    end)

    it("fails when there is nothing to run", function()
        local status, out = place:weir {"test"}
        assert.are.equal(1, status)
        has(out, "No test files found")
    end)

    it("does not let a spec end the run", function()
        place:write("a_spec.lua", "it('leaves', function() os.exit(0) end)\nit('stays', function() end)\n")
        local status, out = place:weir {"test", "a_spec.lua"}
        assert.are.equal(1, status)
        has(out, "os.exit would end the whole run")
        has(out, "1 success / 0 failures / 1 error")
    end)

    it("runs only what --filter names", function()
        place:write("a_spec.lua", "it('one', function() end)\nit('two', function() error() end)\n")
        assert.are.equal(0, (place:weir {"test", "a_spec.lua", "--filter", "^one$"}))
        assert.are.equal(1, (place:weir {"test", "a_spec.lua", "--filter=two"}))
    end)

    it("writes TAP", function()
        place:write("a_spec.lua", "it('one', function() end)\nit('two', function() error('no') end)\npending('three')\n")
        local status, out = place:weir {"test", "a_spec.lua", "--output", "TAP"}
        assert.are.equal(1, status)
        local numbers = {}
        for word, number in out:gmatch("%f[^\n%z](%l[%l ]-ok) (%d+) %- ") do
            numbers[tonumber(number)] = word
        end
        for number in out:gmatch("%f[^\n%z]ok (%d+) %- ") do
            numbers[tonumber(number)] = "ok"
        end
        assert.are.same({"ok", "not ok", "ok"}, numbers, out)
        assert.is_truthy(out:match("\n1%.%.3\n"), out)
    end)

    it("writes JUnit's XML", function()
        place:write("a_spec.lua", "it('a <b> & \"c\"', function() error('<no> & no') end)\nit('two', function() end)\n")
        local status, out = place:weir {"test", "a_spec.lua", "--output", "junit"}
        assert.are.equal(1, status)
        local doc = assert(require "pl.xml".parse(out), "not well-formed:\n" .. out)
        assert.are.equal("testsuites", doc.tag)
        assert.are.equal("2", doc.attr.tests)
        assert.are.equal("1", doc.attr.errors)
        has(out, "&lt;no&gt; &amp; no")
    end)

    it("does not carry fakes from one file into the next", function()
        place:write("h.lua", "local weir = require 'weir'\nreturn function() weir.emit('out', (weir.fs.read('real.txt'))) end\n")
        place:write("real.txt", "real")
        local text = [[
            local t = require "weir.test"
            it("reads", function()
                local h = t.stage("h.lua")
                assert.are.same({"real"}, h:handle(1):from "out")
                t.fake.fs {["real.txt"] = "fake"}
                assert.are.same({"fake"}, h:handle(1):from "out")
            end)]]
        place:write("spec/a_spec.lua", text)
        place:write("spec/b_spec.lua", text)
        passes(2)
    end)

    it("shows what stages log when asked", function()
        place:write("h.lua", "local weir = require 'weir'\nreturn function() weir.log.info('seen') end\n")
        place:write("a_spec.lua", "local t = require 'weir.test'\nit('logs', function() t.stage('h.lua'):handle(1) end)\n")
        local status, _, err = place:weir {"test", "a_spec.lua"}
        assert.are.equal(0, status)
        assert.are.equal("", err)
        status, _, err = place:weir {"test", "a_spec.lua", "--log-level", "info"}
        assert.are.equal(0, status)
        has(err, "seen")
    end)

    it("names what is not installed", function()
        place:write("a_spec.lua", "it('one', function() end)\n")
        local status, _, err = place:weir({"test", "a_spec.lua"}, {LUA_PATH_5_4 = "/nowhere/?.lua"})
        assert.are.equal(1, status)
        has(err, "lua-busted")
        if not pcall(require, "luacov.runner") then
            status, _, err = place:weir {"test", "a_spec.lua", "--coverage"}
            assert.are.equal(1, status)
            has(err, "luacov")
        end
    end)

    it("refuses words that make no sense", function()
        for _, words in ipairs {{"nowhere"}, {"--output", "xml"}, {"--log-level", "loud"}, {"a", "b"}, {"--colour"}} do
            assert.are.equal(64, (place:weir {"test", table.unpack(words)}), words[1])
        end
        local status, out = place:weir {"test", "--help"}
        assert.are.equal(0, status)
        has(out, "--filter PATTERN")
    end)

    it("passes on scripts/hello", function()
        local status, out, err = place:weir {"test", program.root .. "/scripts/hello"}
        assert.are.equal(0, status, out .. err)
    end)
end)

describe("weir new", function()
    local place

    before_each(function()
        place = program.place()
    end)
    after_each(program.clean)

    it("makes an application whose spec passes and that serves", function()
        local status, out = place:weir {"new", "app", "shop"}
        assert.are.equal(0, status)
        for _, name in ipairs(shop_files) do
            has(out, name)
            assert.is_string(program.read(place.home .. "/" .. name), name)
        end
        status, out = place:weir {"test", "shop"}
        assert.are.equal(0, status, out)
        has(out, "3 successes")
        assert.are.equal(0, (place:weir {"check", "shop"}))
        local server = place:start({"shop"}, {PORT = tostring(program.free_port())})
        assert.are.equal("hello /you\n", (program.curl(server.url .. "/you")))
        assert.are.equal(0, server:stop())
    end)

    it("makes a stage whose spec passes", function()
        assert.are.equal(0, (place:weir {"new", "stage", "parse_2"}))
        local status, out = place:weir {"test"}
        assert.are.equal(0, status, out)
        has(out, "2 successes")
    end)

    it("touches nothing that is there", function()
        place:write("shop/page.lua", "mine")
        local status, out, err = place:weir {"new", "app", "shop"}
        assert.are.equal(1, status)
        assert.are.equal("", out)
        has(err, "shop/page.lua exists already; nothing was written")
        assert.are.equal("mine", program.read(place.home .. "/shop/page.lua"))
        assert.is_nil(program.read(place.home .. "/shop/weir.yaml"))
    end)

    it("takes names only", function()
        for _, name in ipairs {"", "9a", "Shop", "../x", "a b", ("a"):rep(61), "a.b"} do
            local status, _, err = place:weir {"new", "app", name}
            assert.are.equal(64, status, name)
            has(err, "is no name")
        end
        assert.are.equal(64, (place:weir {"new", "app"}))
        assert.are.equal(64, (place:weir {"new", "house", "x"}))
        assert.are.equal(64, (place:weir {"new"}))
    end)
end)
