-- Limits for long: tables of a script under thousands of preemptions, calls ended by the thousand. Some hundred of each
-- unless WEIR_ENDURANCE says how many (10000 takes some minutes). Under sanitizers memory is not looked at.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local connect, get = support.connect, support.get

local times = tonumber(os.getenv "WEIR_ENDURANCE") or 300
local preset = os.getenv "WEIR_PRESET" or "dev"
local measures_memory = preset == "dev" or preset == "release"

-- An LRU cache of linked entries behind a metatable, and what is always true of it between two operations.
local lru = [[
local M = {}

function M.new(capacity)
    local map, size, head = {}, 0, {}
    head.next, head.prev = head, head
    local function unlink(entry)
        entry.prev.next = entry.next
        entry.next.prev = entry.prev
    end
    local function put_first(entry)
        entry.next, entry.prev = head.next, head
        head.next.prev = entry
        head.next = entry
    end
    local cache = setmetatable({}, {
        __index = function(_, key)
            local entry = map[key]
            if entry then
                unlink(entry)
                put_first(entry)
                return entry.value
            end
        end,
        __newindex = function(_, key, value)
            local entry = map[key]
            if entry then
                unlink(entry)
            else
                if size == capacity then
                    local last = head.prev
                    unlink(last)
                    map[last.key] = nil
                    size = size - 1
                end
                entry = {key = key}
                map[key] = entry
                size = size + 1
            end
            entry.value = value
            put_first(entry)
        end,
    })
    local function check()
        local linked, mapped, entry = 0, 0, head
        repeat
            assert(entry.next.prev == entry, "a link goes nowhere")
            entry = entry.next
            if entry ~= head then
                linked = linked + 1
                assert(map[entry.key] == entry, "an entry that is not in the map")
                assert(entry.value == entry.key * 2, "a wrong value")
            end
        until entry == head
        for _ in pairs(map) do mapped = mapped + 1 end
        assert(linked == size and mapped == size and size <= capacity, "the counts differ")
    end
    return cache, check
end

return M
]]

-- /work: transactions on the cache until `preemptions` of them were interrupted by the stage `ticks`, which counts what
-- it gets while this call is preempted. /stall, /cpu …: leave the cache half changed, in the middle of all that could
-- catch the end. /sleep: waits in the same VM.
local page = [[
local weir = require "weir"
local cache, check = require("lru").new(64)
local busy, ticks

local function read_ticks()
    return ticks:get("n") or 0
end

-- Some hundred operations, in coroutines within coroutines and a pcall.
local function work(seed)
    local function random(n)
        seed = (seed * 1103515245 + 12345) % 2147483648
        return seed // 65536 % n
    end
    local function operate()
        for _ = 1, 150 do
            local key = random(100)
            if not cache[key] then cache[key] = key * 2 end
        end
    end
    assert(pcall(operate))
    coroutine.wrap(function()
        coroutine.wrap(operate)()
        assert(select(2, coroutine.resume(coroutine.create(function() operate() return "done" end))) == "done")
    end)()
end

local function transaction(seed, steps)
    assert(not busy, "another call is in the middle of it")
    check()
    busy = true
    local before = read_ticks()
    for i = 1, steps do work(seed + i) end
    local preempted = read_ticks() ~= before
    busy = false
    check()
    return preempted
end

local function half_change()
    busy = true
    cache[-1] = 0 -- no value that check() would take
end

local function spin() while true do end end

local ends = {
    stall = function() table.sort({3, 2, 1}, function() pcall(spin) end) end,
    cpu = function() while true do pcall(coroutine.wrap(function() pcall(spin) end)) end end,
    close = function() local _ <close> = setmetatable({}, {__close = spin}) error "x" end,
    gsub = function() coroutine.wrap(function() ("x"):gsub(".", spin) end)() end,
}

return {
    init = function() ticks = weir.shared "ticks" end,
    handle = function(req)
        local name = req.path:sub(2)
        if ends[name] then
            transaction(1, 1)
            half_change()
            pcall(ends[name])
            return req:reply(200, "escaped")
        elseif name == "sleep" then
            weir.sleep(0.005)
            return req:reply(200, "slept")
        elseif name == "check" then
            transaction(2, 1)
            return req:reply(200, "ok")
        end
        local preempted, n = 0, 0
        while preempted < tonumber(req.query) do
            n = n + 1
            if transaction(n, 10) then preempted = preempted + 1 end
            if n % 50 == 0 then weir.sleep(0) end
        end
        req:reply(200, tostring(preempted))
    end,
}
]]

local yaml = [[
weir: 1
pools: {main: {threads: 1}}
shared: {ticks: {}}
stages:
  clock: {source: timer, every: 1ms, to: ticks}
  ticks: {handler: ticks.lua}
  web: {source: http, listen: '127.0.0.1:0', to: page}
  page: {handler: page.lua, limits: {slice: 1ms, stall: %s, cpu: %s, wall: 1h, memory: 8MiB}}
]]

local ticks = [[
local weir = require "weir"
return function() weir.shared("ticks"):incr("n") end
]]

local function start(stall, cpu)
    return support.start {
        ["weir.yaml"] = yaml:format(stall, cpu), ["page.lua"] = page, ["lru.lua"] = lru, ["ticks.lua"] = ticks,
    }
end

local function stats(host)
    local command = "XDG_RUNTIME_DIR=%s/../run %s stats --json"
    return json.decode((support.shell(command:format(host.folder, support.quote(support.bin)))))
end

-- Closed: every event that was accepted has one end.
local function check_ledger(host)
    local one = stats(host).stages.page
    local l = one.ledger
    assert.are.equal(0, l.queued + l.running)
    assert.are.equal(l.accepted, l.handled + l.failed + l.expired + l.dropped)
    return one
end

local function threads(host)
    return host:memory("Threads")
end

local function tell(format, ...)
    if os.getenv "WEIR_ENDURANCE" then
        io.stderr:write("# ", format:format(...), "\n")
    end
end

describe("in the long run", function()
    after_each(support.clean)

    it("no call sees tables that a preempted one has half changed", function()
        local host = start("1h", "1h")
        local clients, began = {}, socket.gettime()
        local share <const> = math.ceil(times / 6)
        for i = 1, 6 do
            clients[i] = connect(host.port)
            clients[i].sock:settimeout(900)
            clients[i]:send((get("/work?" .. share)))
        end
        local preempted = 0
        for _, client in ipairs(clients) do
            local answer = client:answer()
            assert.are.equal(200, answer.status, host:stderr())
            preempted = preempted + tonumber(answer.body)
        end
        tell("%d preemptions within transactions of 6 calls: %.1f s, RSS %d KiB", preempted, socket.gettime() - began,
            host:memory("VmRSS"))
        assert.is_true(preempted >= times)
        assert.are.equal(0, check_ledger(host).ledger.failed)
        assert.are.equal(0, host:stop())
    end)

    it("calls that are ended leave nothing behind, and the stage goes on", function()
        local host = start("2ms", "20ms")
        local killer, sleeper, checker = connect(host.port), connect(host.port), connect(host.port)
        local kinds <const> = {"stall", "cpu", "close", "gsub"}
        local function ask(client, path, status)
            client:send(get(path))
            local answer = client:answer()
            assert.are.equal(status, answer and answer.status, path .. "\n" .. host:stderr():sub(-2000))
        end
        local function kill(from, to)
            for i = from, to do
                sleeper:send(get("/sleep")) -- ends in a VM that is retired
                killer:send(get("/" .. kinds[i % #kinds + 1]))
                assert.are.equal(500, killer:answer().status)
                assert.are.equal(200, sleeper:answer().status)
                ask(checker, "/check", 200)
            end
            return host:memory("VmRSS"), stats(host).stages.page.vm_bytes
        end
        local began = socket.gettime()
        local rss, bytes = kill(1, times // 10)
        local threads_before = threads(host)
        local rss_after, bytes_after = kill(times // 10 + 1, times)
        local one = check_ledger(host)
        local reasons = one.reasons.failed
        tell("%d kills: %.1f s; RSS %d KiB after a tenth, %d KiB at the end; VMs %d bytes, then %d; stall %d, cpu %d",
            times, socket.gettime() - began, rss, rss_after, bytes, bytes_after, reasons.stall, reasons.cpu)
        assert.are.equal(times, reasons.stall + reasons.cpu)
        assert.are.equal(times, one.ledger.failed)
        assert.are.equal(threads_before, threads(host))
        assert.is_true(bytes_after < 3 * 200 * 1024, bytes_after .. " bytes of VMs") -- one and two spares
        assert.is_true(not measures_memory or rss_after < rss * 1.2 + 2048, rss .. " KiB became " .. rss_after)
        assert.are.equal(0, host:stop())
    end)
end)
