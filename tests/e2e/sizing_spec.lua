-- Pools and batches that find their size, in running hosts. What is asserted are shapes, with room for a machine that has
-- other work, too: tests/bench/sizing.lua measures.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

describe("a size that is found", function()
    local host

    after_each(function()
        local status = host:stop()
        local said = host:stderr()
        support.clean()
        assert.are.equal(0, status, said)
        assert.is_nil(said:find("Sanitizer", 1, true), said)
    end)

    local function weir(arguments)
        return (support.shell(("XDG_RUNTIME_DIR=%s/../run %s %s 2>&1"):format(host.folder, support.quote(support.bin), arguments)))
    end

    local function stats()
        return json.decode(weir "stats --json")
    end

    local function events()
        local list = {}
        for line in weir("events --once --json"):gmatch "[^\n]+" do
            list[#list + 1] = json.decode(line)
        end
        return list
    end

    -- ---- a pool whose handler blocks ----

    local blocking = [[
weir: 1
pools: {slow: {threads: {min: 1, max: 60}, blocking: true, controller: {name: %s, sample: 200ms, threshold: 20, idle: 1s}}}
stages:
  gen: {source: generator, rate: %d, count: %d, value: 1, to: work}
  work: {handler: work.lua, pool: slow, libs: all, queue: {capacity: 4096}}
]]
    local sleeping = 'local socket = require "socket"\nreturn function() socket.sleep(0.02) end\n'

    local function follows_the_load(controller, per_second, seconds)
        local count, most = per_second * seconds, 0
        host = support.start {["weir.yaml"] = blocking:format(controller, per_second, count), ["work.lua"] = sleeping}
        local began = socket.gettime()
        socket.sleep(seconds - 2)
        while socket.gettime() - began < seconds - 0.3 do
            local s = stats()
            most = math.max(most, s.pools.slow.threads)
            socket.sleep(0.1)
        end
        local ledger = support.wait(20, "the last event", function()
            local l = stats().stages.work.ledger
            return l.offered >= count - per_second and l.queued + l.running == 0 and l
        end)
        local ended = socket.gettime()
        support.wait(20, "one worker", function() return stats().pools.slow.threads == 1 end)
        -- The workers that are left over leave together, one sample after they were idle for long.
        assert.is_true(socket.gettime() - ended < 1 + 0.2 + 3, "back at one after " .. socket.gettime() - ended)
        local work = stats().stages.work
        assert.are.equal(ledger.offered, work.ledger.offered)
        assert.are.equal(work.ledger.offered, work.ledger.handled + work.ledger.rejected)
        assert.are.equal(0, work.ledger.failed + work.ledger.dropped + work.ledger.expired)
        assert.are.equal(0, work.ledger.rejected)
        -- A machine with much to do sleeps longer than it was told.
        local needs = per_second * math.max(0.02, work.service_us.p50 / 1e6)
        assert.is_true(most >= math.floor(needs * 0.8), ("%d workers for %g"):format(most, needs))
        return most, needs
    end

    for _, controller in ipairs {"hillclimb", "queue"} do
        for _, case in ipairs {{50, 5}, {200, 6}, {1000, 10}} do
            if controller == "hillclimb" or case[1] == 200 then
                it(("is what %d events a second need that block for 20 ms (%s)"):format(case[1], controller), function()
                    local most, needs = follows_the_load(controller, case[1], case[2])
                    -- ceil(1.2 * needs) + 1 on a quiet machine
                    assert.is_true(most <= math.ceil(1.7 * needs) + 3, ("%d workers for %g"):format(most, needs))
                end)
            end
        end
    end

    -- ---- a pool whose workers are in each other's way ----

    local locked = [[
weir: 1
pools: {slow: {threads: {min: 1, max: 12}, blocking: true, controller: {name: hillclimb, sample: 200ms, threshold: 20, thrashing: %s}}}
shared: {locks: {}}
stages:
  gen: {source: generator, value: 1, to: {out: {stage: work, overflow: wait}}}
  work: {handler: work.lua, pool: slow, queue: {capacity: 256}}
]]
    -- A lock that is spun for: while its holder has no CPU, all others use theirs for nothing.
    local spinning = [[
local weir = require "weir"
local locks = weir.shared "locks"
local function burn(n)
    local x = 0
    for i = 1, n do x = x + i end
    return x
end
return function()
    burn(10000)
    while not locks:add("lock", 1) do end
    burn(20000)
    locks:delete "lock"
end
]]

    it("is not all that a pool may have, when more workers do less", function()
        host = support.start {["weir.yaml"] = locked:format "true", ["work.lua"] = spinning}
        local sizes, rules = {}, {}
        local function look()
            sizes[#sizes + 1] = stats().pools.slow.threads
            for _, e in ipairs(events()) do
                rules[e.rule or e.kind] = true
            end
            return rules["queue over threshold: tries more"] and (rules["thrashing: back"] or rules["more did no more: back"])
        end
        support.wait(30, "a try, and a step back", look)
        for _ = 1, 20 do
            socket.sleep(0.2)
            look()
        end
        weir "set pools.slow.threads 1" -- or it would take long to stop
        table.sort(sizes)
        local usual = sizes[#sizes // 2 + 1]
        assert.is_true(usual <= 8, usual .. " workers most of the time, of 12")
    end)

    it("is all that a pool may have, when nobody looks what came of it", function()
        host = support.start {["weir.yaml"] = locked:format "false", ["work.lua"] = spinning}
        support.wait(20, "all workers", function() return stats().pools.slow.threads == 12 end)
        weir "set pools.slow.controller.thrashing true" -- and back, when somebody does
        support.wait(30, "fewer workers", function() return stats().pools.slow.threads <= 6 end)
    end)

    -- ---- batches ----

    local batched = [[
weir: 1
pools: {gen: {threads: 1}, main: {threads: 1}}
stages:
  gen: {source: generator, value: 1, pool: gen, to: {out: {stage: work, overflow: wait}}}
  work:
    handler: work.lua
    queue: {capacity: 4096}
    batch: {min: 1, max: 1000, controller: {name: throughput, sample: 200ms, bound: %s}}
]]
    -- Of each 200 events of a batch the first one costs as much as 17.4 others.
    local amortized = [[
local function burn(n)
    local x = 0
    for _ = 1, n do x = x + math.random() end
    return x
end
return {handle_batch = function(events)
    for i = 1, #events do burn(i % 200 == 1 and %d or %d) end
end}
]]

    it("is a batch that pays for what each batch costs", function()
        host = support.start {["weir.yaml"] = batched:format "100ms", ["work.lua"] = amortized:gsub("%%d", "10000", 1):gsub("%%d", "575", 1)}
        weir "freeze stages.work.batch"
        weir "set stages.work.batch 1"
        weir "unfreeze stages.work.batch"
        support.wait(60, "a batch that pays", function()
            return stats().stages.work.batch >= 20
        end)
    end)

    it("is a batch that takes no longer than it may", function()
        host = support.start {["weir.yaml"] = batched:format "20ms", ["work.lua"] = amortized:gsub("%%d", "50000")}
        local batch = support.wait(15, "a smaller batch", function()
            local n = stats().stages.work.batch
            return n <= 50 and n
        end)
        socket.sleep(1)
        local s = stats().stages.work
        assert.is_true(s.batch <= 50 and batch >= 1)
        local rules = {}
        for _, e in ipairs(events()) do
            rules[e.rule or e.kind] = true
        end
        assert.is_truthy(rules["a batch takes longer than the bound"])
    end)
end)
