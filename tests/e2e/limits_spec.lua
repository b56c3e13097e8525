-- What a script may not do to its worker: run away, stall it, fill its memory. Each handler here is as bad as it can
-- be; the worker goes on serving others, the call ends as its limit says, and the next event of the stage succeeds.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local get, connect = support.get, support.connect

local handler = [[
local weir = require "weir"
local spin = function() while true do end end
local bad = {}
bad.loop = spin
bad.pcall = function() while true do pcall(spin) end end
bad.coroutine = function() coroutine.wrap(spin)() end
bad.nested = function()
    local function deeper(n) if n == 0 then spin() end coroutine.wrap(deeper)(n - 1) end
    deeper(20)
end
bad.resumes = function() while true do coroutine.resume(coroutine.create(spin)) end end
bad.close = function() local x <close> = setmetatable({}, {__close = spin}) end
bad.close_after_error = function() local x <close> = setmetatable({}, {__close = spin}) error("x") end
bad.close_coroutine = function()
    local co = coroutine.create(function()
        local x <close> = setmetatable({}, {__close = spin})
        coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)
end
bad.close_wrapped = function()
    coroutine.wrap(function() local x <close> = setmetatable({}, {__close = spin}) error "x" end)()
end
bad.xpcall = function() xpcall(error, spin, "x") end
bad.sort = function() table.sort({3, 1, 2, 5, 4}, spin) end
bad.gsub = function() return ("x"):gsub(".", spin) end
bad.tostring = function() tostring(setmetatable({}, {__tostring = spin})) end
bad.concat = function() local t = setmetatable({}, {__concat = spin}) return t .. "x" end
bad.load = function() load(spin)() end
bad.loaded = function() load("while true do end")() end
bad.required = function() require "forever" end
bad.emitless = function() while true do weir.now() end end
bad.goto_loop = function() ::again:: goto again end
bad.tail = function() local function f() return f() end return f() end

return function(req)
    local name = req.path:sub(2)
    if bad[name] then bad[name]() end
    req:reply(200, "ok")
end
]]

local yaml = [[
weir: 1
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: '127.0.0.1:0', to: page}
  page: {handler: page.lua, limits: {slice: 10ms, stall: 50ms, cpu: 200ms, wall: %s, memory: %s}}
]]

local function start(wall, memory, text)
    return support.start{["weir.yaml"] = yaml:format(wall or "5s", memory or "32MiB"), ["page.lua"] = text or handler,
        ["forever.lua"] = "while true do end"}
end

local function stats(host)
    local command = "XDG_RUNTIME_DIR=%s/../run %s stats --json"
    local text = support.shell(command:format(host.folder, support.quote(support.bin)))
    return json.decode(text)
end

local function status(host, path)
    local client = connect(host.port)
    client:send(get(path))
    local answer = client:answer()
    client:close()
    return answer.status
end

-- Sends requests for `/` one after the other until `done()`; the longest that one took.
local function longest_meanwhile(host, done)
    local client, longest = connect(host.port), 0
    repeat
        local began = socket.gettime()
        client:send(get("/"))
        assert.equal(200, client:answer().status)
        longest = math.max(longest, socket.gettime() - began)
    until done()
    client:close()
    return longest
end

-- Asks for `path`, and for others as long as that takes. The bounds are wide: what is meant is 'does not hang'.
local function run_beside_others(host, path)
    local client = connect(host.port)
    client:send(get(path))
    client.sock:settimeout(0)
    local began, part = socket.gettime(), ""
    local longest = longest_meanwhile(host, function()
        local text, _, some = client.sock:receive(1)
        part = part .. (text or some or "")
        return part ~= "" or socket.gettime() - began > 20
    end)
    local took = socket.gettime() - began
    client.sock:settimeout(10)
    client.buffer = part
    return client:answer().status, took, longest
end

describe("limits", function()
    after_each(support.clean)

    it("end a call that runs away, whatever it runs in, while its worker serves others", function()
        local host = start()
        local kinds = {loop = "cpu", pcall = "cpu", coroutine = "cpu", nested = "cpu", resumes = "cpu", close = "cpu",
            close_after_error = "cpu", concat = "cpu", loaded = "cpu", required = "cpu", emitless = "cpu",
            goto_loop = "cpu", tail = "cpu", xpcall = "stall", close_coroutine = "stall", close_wrapped = "stall",
            sort = "stall", gsub = "stall", tostring = "stall", load = "stall"}
        local expected = {cpu = 0, stall = 0}
        for name, reason in pairs(kinds) do
            local code, took, longest = run_beside_others(host, "/" .. name)
            assert.equal(500, code, name)
            assert.is_true(took < 5, name .. " took " .. took)
            assert.is_true(longest < 2, name .. " held others up for " .. longest)
            assert.equal(200, status(host, "/"), name)
            expected[reason] = expected[reason] + 1
        end
        local page = stats(host).stages.page
        assert.same(expected, {cpu = page.reasons.failed.cpu, stall = page.reasons.failed.stall})
        assert.equal(page.ledger.accepted, page.ledger.handled + page.ledger.failed)
        assert.equal(0, host:stop())
    end)

    it("end a call by its wall limit while it is suspended", function()
        local host = start("300ms", nil, [[
            local weir = require "weir"
            return function(req)
                if req.path == "/late" then
                    local x <close> = setmetatable({}, {__close = function() weir.log.info("closed") end})
                    weir.sleep(60)
                end
                req:reply(200, "ok")
            end]])
        assert.equal(500, status(host, "/late"))
        assert.equal(200, status(host, "/"))
        assert.equal(1, stats(host).stages.page.reasons.failed.wall)
        assert.truthy(host:stderr():find("closed", 1, true))
        assert.truthy(host:stderr():find("over limits.wall (300ms)", 1, true))
        assert.equal(0, host:stop())
    end)

    it("keep memory bombs to their event, and the process to the limit and a tenth", function()
        local bombs = [[
            local bombs = {
                tables = function() local t = {} while true do t[#t + 1] = {} end end,
                growth = function() local t = {} while true do t[#t + 1] = 1 end end,
                strings = function() local s = "x" while true do s = s .. s end end,
                rep = function() return ("x"):rep(1 << 40) end,
                coroutines = function()
                    local t = {} while true do t[#t + 1] = coroutine.create(function() end) end
                end,
                closures = function() local t = {} while true do t[#t + 1] = function() return t end end end,
                keys = function() local t = {} for i = 1, 1e9 do t["k" .. i] = i end end,
                caught = function()
                    local t = {}
                    while true do pcall(function() t[#t + 1] = ("x"):rep(1 << 20) .. #t end) end
                end,
            }
            return function(req)
                local bomb = bombs[req.path:sub(2)]
                if bomb then bomb() end
                req:reply(200, "ok")
            end]]
        local limit_kib <const> = 16 * 1024
        for _, name in ipairs{"tables", "growth", "strings", "rep", "coroutines", "closures", "keys", "caught"} do
            local host = start(nil, "16MiB", bombs)
            assert.equal(200, status(host, "/"))
            local before = host:memory("VmRSS")
            assert.equal(500, status(host, "/" .. name), name)
            local grown = host:memory("VmHWM") - before
            assert.equal(200, status(host, "/"), name)
            assert.is_true(os.getenv("WEIR_PRESET") ~= nil or grown < limit_kib * 1.1 + 512, -- the new VM beside it
                ("%s: grew by %d KiB under a limit of %d"):format(name, grown, limit_kib))
            assert.equal(0, host:stop())
        end
    end)

    it("never let another call see the tables of a preempted one half changed", function()
        local host = start("20s", nil, [[
            -- Two counters that are the same whenever a call is not in the middle of changing them.
            local a, b, seen = 0, 0, 0
            return function(req)
                if a ~= b then return req:reply(500, "half changed") end
                if req.path == "/slow" then
                    a = a + 1
                    for _ = 1, 3e5 do seen = seen + 1 end
                    b = b + 1
                end
                if a ~= b then return req:reply(500, "changed under us") end
                req:reply(200, "ok")
            end]])
        local slow = {}
        for i = 1, 4 do
            slow[i] = connect(host.port)
        end
        for _ = 1, 20 do
            for _, client in ipairs(slow) do
                client:send(get("/slow"))
            end
            local quick = connect(host.port)
            for _ = 1, 10 do
                quick:send(get("/"))
                assert.equal(200, quick:answer().status)
            end
            quick:close()
            for _, client in ipairs(slow) do
                assert.equal(200, client:answer().status)
            end
        end
        assert.equal(0, host:stop())
    end)

    it("leave nothing behind after many calls that were ended", function()
        local host = start(nil, nil, [[
            return function(req)
                if req.path == "/stall" then table.sort({3, 2, 1}, function() while true do end end) end
                req:reply(200, "ok")
            end]])
        local function kill(times)
            for _ = 1, times do
                assert.equal(500, status(host, "/stall"))
            end
            return host:memory("VmRSS")
        end
        local before = kill(20)
        local after = kill(40)
        assert.is_true(os.getenv("WEIR_PRESET") ~= nil or after < before * 1.5 + 4096, before .. " KiB became " .. after)
        assert.equal(200, status(host, "/"))
        assert.equal(0, host:stop())
    end)

    it("hold for each stretch of a fiber, which may live longer than any of them", function()
        local host = start("300ms", nil, [[
            local weir = require "weir"
            local function work(seconds) local t = os.clock() while os.clock() - t < seconds do end end
            return {
                init = function()
                    weir.fiber(function()
                        for _ = 1, 60 do work(0.008) weir.sleep(0.001) end
                        weir.log.info("worked in pieces")
                        work(60)
                    end)
                end,
                handle = function(req) req:reply(200, "ok") end,
            }]])
        support.wait(30, "the end of both", function()
            local log = host:stderr()
            return log:find("worked in pieces", 1, true) and log:find("over limits.cpu (200ms)", 1, true)
        end)
        assert.equal(200, status(host, "/"))
        assert.equal(0, host:stop())
    end)

    it("hold at load and in init: the host does not start, and says why", function()
        for _, text in ipairs{"while true do end", "return {handle = print, init = function() while true do end end}"} do
            local folder = support.tempdir()
            support.write(folder .. "/weir.yaml", yaml:format("5s", "32MiB"))
            support.write(folder .. "/page.lua", text)
            local output, code = support.shell(("timeout 20 %s run %s 2>&1"):format(support.quote(support.bin), folder))
            assert.equal(78, code, output)
            assert.truthy(output:find("page.lua:1:", 1, true), output)
            assert.truthy(output:find("limits.cpu (200ms)", 1, true), output)
        end
    end)
end)
