-- weir explain on applications with one thing wrong each: it names that, and nothing on one where all is well.
local cjson = require "cjson"
local program = require "tests.e2e.program"
local socket = require "socket"

local head = [[
weir: 1
name: explained
]]

local burn = [[
local weir = require "weir"
return function()
    local till = weir.now() + 0.005
    while weir.now() < till do end
end
]]

local sleep = "local weir = require 'weir'\nreturn function() weir.sleep(0.1) end"
local block = "return function() os.execute('sleep 0.05') end"

local function start(yaml, files, options)
    local place = program.place()
    place:write("weir.yaml", head .. yaml)
    for name, text in pairs(files) do
        place:write(name, text)
    end
    return place, place:start(options or {})
end

local function explain(place)
    local status, out, err = place:weir({"explain", "--json"})
    assert.are.equal(0, status, err)
    return cjson.decode(out)
end

local function find(place, cause, stage)
    for _, f in ipairs(explain(place).findings) do
        if f.cause == cause and f.stage == stage then
            return f
        end
    end
end

-- Waits for the finding, and returns it.
local function expect(place, cause, stage)
    local found, last
    local ok = pcall(program.wait, 20, cause, function()
        found = find(place, cause, stage)
        last = explain(place)
        return found
    end)
    assert(ok, ("no '%s' of '%s', but: %s"):format(cause, stage, cjson.encode(last)))
    assert.is_truthy(found.evidence:find("'", 1, true))
    assert.is_truthy(#found.advice > 0)
    return found
end

local function expect_first(place, cause, stage)
    local found = expect(place, cause, stage)
    local first = explain(place).findings[1]
    assert.are.equal(found.cause, first and first.cause)
    return found
end

describe("weir explain", function()
    after_each(program.clean)

    it("says that nothing is wrong where nothing is", function()
        local place = start([[
stages:
  ticks: {source: generator, rate: 100, to: work}
  work: {handler: work.lua}
]], {["work.lua"] = "return function() end"})
        program.wait(10, "it has run for a while", function()
            return explain(place).span_s > 0
        end)
        assert.are.same({}, explain(place).findings)
        local _, text = place:weir({"explain"})
        assert.is_truthy(text:find("Nothing holds it up", 1, true), text)
    end)

    it("names a slow stage, in words too", function()
        local place = start([[
pools: {main: {threads: 1}}
stages:
  ticks: {source: generator, rate: 1000, to: work}
  work: {handler: work.lua, queue: {capacity: 200, overflow: drop_newest}}
]], {["work.lua"] = burn})
        local found = expect_first(place, "slow_stage", "work")
        assert.is_truthy(found.what:find("'work' is the bottleneck", 1, true))
        local _, text = place:weir({"explain"})
        assert.is_truthy(text:find("^1%. 'work' is the bottleneck"), text)
        assert.is_truthy(text:find("what helps:", 1, true), text)
    end)

    it("names the stage that has the workers of another one", function()
        local place = start([[
pools: {main: {threads: 1}}
stages:
  ticks: {source: generator, rate: 1000, to: hog}
  tocks: {source: generator, rate: 300, to: light}
  hog: {handler: burn.lua, queue: {capacity: 200, overflow: drop_newest}}
  light: {handler: light.lua, queue: {capacity: 1000, overflow: drop_newest}}
]], {["burn.lua"] = burn, ["light.lua"] = "return function() end"})
        local found = expect(place, "starved_pool", "hog")
        assert.is_truthy(found.what:find("'light' gets no workers", 1, true), found.what)
        expect(place, "slow_stage", "hog")
    end)

    it("names a sink that takes nothing, and who waits for it", function()
        local listener = assert(socket.bind("127.0.0.1", 0))
        local _, port = listener:getsockname()
        local place = start(([[
stages:
  ticks: {source: generator, rate: 300, to: work}
  work: {handler: work.lua, queue: {capacity: 100, overflow: drop_newest}, to: {out: {stage: out, overflow: wait}}}
  out: {sink: tcp, connect: "127.0.0.1:%d", framing: line, queue: {capacity: 50}}
]]):format(port), {["work.lua"] = "local weir = require 'weir'\nlocal text = ('x'):rep(60000)\n" ..
            "return function() weir.emit('out', text) end"})
        local peer = listener:accept() -- and reads nothing
        expect(place, "blocked_sink", "out")
        peer:close()
        listener:close()
    end)

    it("names a blocking pool that is too small", function()
        local place = start([[
pools: {disk: {threads: 2, blocking: true}}
stages:
  ticks: {source: generator, rate: 200, to: work}
  work: {handler: work.lua, pool: disk, libs: all, queue: {capacity: 100, overflow: drop_newest}}
]], {["work.lua"] = block})
        expect_first(place, "small_pool", "work")
    end)

    it("names a handler that blocks the worker it shares", function()
        local place = start([[
pools: {main: {threads: 1}}
stages:
  ticks: {source: generator, rate: 200, to: work}
  work: {handler: work.lua, libs: all, queue: {capacity: 100, overflow: drop_newest}}
]], {["work.lua"] = block})
        expect_first(place, "blocking_handler", "work")
    end)

    it("names calls that wait for something outside", function()
        local place = start([[
stages:
  ticks: {source: generator, rate: 500, to: work}
  work: {handler: work.lua, concurrency: 5, queue: {capacity: 100, overflow: drop_newest}}
]], {["work.lua"] = sleep})
        expect_first(place, "outside", "work")
    end)

    it("names the threads for files when all are busy", function()
        if program.bin:find("san", 1, true) then
            pending("copying what is written is the bottleneck under sanitizers")
            return
        end
        local place = start([[
pools: {main: {threads: 1}}
stages:
  ticks: {source: generator, rate: 500, to: work}
  work: {handler: work.lua, concurrency: 20, queue: {capacity: 100, overflow: drop_newest}}
]], {["work.lua"] = "local weir = require 'weir'\nlocal text = ('x'):rep(1000000)\nreturn function() weir.fs.write('big', text, {sync = true}) end"},
            {env = "UV_THREADPOOL_SIZE=1"})
        expect(place, "file_threads", "work")
    end)

    it("names one key that has all the events", function()
        local place = start([[
pools: {main: {threads: 2}}
stages:
  ticks: {source: generator, rate: 1000, to: spread}
  spread: {handler: spread.lua, to: work}
  work: {handler: work.lua, queue: {capacity: 200, overflow: drop_newest, order_by: key}}
]], {["work.lua"] = burn, ["spread.lua"] = "local weir = require 'weir'\nreturn function(e) weir.emit('out', e, {key = 'one'}) end"})
        expect_first(place, "hot_key", "work")
    end)

    it("names a VM that collects all the time", function()
        local place = start([[
pools: {main: {threads: 1}}
stages:
  ticks: {source: generator, rate: 1000, to: work}
  work: {handler: work.lua, limits: {memory: 16MiB}, queue: {capacity: 100, overflow: drop_newest}}
]], {["work.lua"] = [[
local kept = {}
for i = 1, 85000 do
    kept[i] = {1, 2}
end
return function()
    local garbage = {}
    for i = 1, 5000 do
        garbage[i] = {i}
    end
    kept[#garbage] = garbage[1]
end
]]})
        expect_first(place, "garbage", "work")
    end)

    it("names a stage that is paused", function()
        local place = start([[
stages:
  ticks: {source: generator, rate: 100, to: work}
  work: {handler: work.lua, queue: {capacity: 100, overflow: drop_newest}}
]], {["work.lua"] = "return function() end"})
        place:weir({"queue", "pause", "work"})
        local found = expect_first(place, "paused", "work")
        assert.are.equal("weir queue resume work", found.advice)
    end)

    it("says so when no host runs", function()
        local place = program.place()
        local status, _, err = place:weir({"explain", "--admin", "/nowhere.sock"})
        assert.are.equal(69, status)
        assert.is_truthy(err:find("nowhere", 1, true), err)
    end)
end)
