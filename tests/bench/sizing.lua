-- Pools and batches that find their size: what a blocking stage settles at; a stage whose workers are in each other's way, and one
-- whose batches have a price, beside every fixed size; what a drop in load costs.
local json = require "cjson"
local socket = require "socket"
local place = require "place"
local processes = require "processes"

local SERVICE <const> = 0.02
local FOUND <const> = "found"

local function weir(server, words)
    return place.capture(("WEIR_ADMIN=%s %s %s"):format(place.quote(server.admin), place.weir, words))
end

local function stats(server)
    return json.decode(weir(server, "stats --json"))
end

-- `files` with a port that says when it runs.
local function start(name, files)
    files["weir.yaml"] = files["weir.yaml"] .. '  up: {source: http, listen: "127.0.0.1:${PORT}", to: none}\n  none: {sink: "null"}\n'
    return processes.start_weir("sizing", place.make_app("sizing-" .. name, files))
end

-- Events per second of 'work' for `seconds`, and what `of(stats)` was, ten times: the mean, the least, the most.
local function watch(server, seconds, of)
    local before, began = stats(server).stages.work.ledger.handled, socket.gettime()
    local sum, least, most, count = 0, math.huge, 0, 0
    local now
    repeat
        socket.sleep(seconds / 10)
        now = stats(server)
        local value = of(now)
        sum, least, most, count = sum + value, math.min(least, value), math.max(most, value), count + 1
    until socket.gettime() - began >= seconds
    return (now.stages.work.ledger.handled - before) / (socket.gettime() - began), sum / count, least, most
end

local function threads_of(s)
    return s.pools.slow.threads
end

local function batch_of(s)
    return s.stages.work.batch
end

-- ---- blocking ----

local RATES <const> = {50, 100, 200, 500, 1000}
local blocking = [[
weir: 1
pools: {slow: {threads: {min: 1, max: 60}, blocking: true, controller: {name: %s, sample: 200ms, threshold: 20, idle: 1s}}, gen: {threads: 1}}
stages:
  gen: {source: generator, rate: %d, count: %d, value: 1, pool: gen, to: work}
  work: {handler: work.lua, pool: slow, libs: all, queue: {capacity: 4096}}
]]
local sleeping = ('local socket = require "socket"\nreturn function() socket.sleep(%g) end\n'):format(SERVICE)

local function settle(report, controller, rate, seconds)
    local count = math.floor(rate * (seconds * 8))
    local server = start("blocking", {["weir.yaml"] = blocking:format(controller, rate, count), ["work.lua"] = sleeping})
    socket.sleep(seconds * 5)
    local _, mean, _, most = watch(server, seconds * 2, threads_of)
    report:add("blocking " .. rate, controller, "threads", most)
    report:add("blocking " .. rate, controller, "mean", mean)
    local ledger
    repeat
        socket.sleep(0.01)
        ledger = stats(server).stages.work.ledger
    until ledger.offered >= count and ledger.queued + ledger.running == 0
    local ended = socket.gettime()
    while threads_of(stats(server)) > 1 and socket.gettime() - ended < 20 do
        socket.sleep(0.01)
    end
    report:add("blocking " .. rate, controller, "back", socket.gettime() - ended)
    report:add("blocking " .. rate, controller, "lost", ledger.offered - ledger.handled)
    processes.stop(server)
end

-- ---- contended ----

local SIZES <const> = {1, 2, 4, 8, 16, 32}
local contended = [[
weir: 1
pools:
  slow: {threads: {min: 1, max: 32}, blocking: true, controller: {name: hillclimb, sample: 500ms, threshold: 20, thrashing: %s}}
  gen: {threads: 1}
shared: {locks: {}}
stages:
  gen: {source: generator, pool: gen, to: {out: {stage: work, overflow: wait}}}
  work: {handler: work.lua, pool: slow, queue: {capacity: 256}}
]]
-- The thesis' stage: half of the events enter a critical section. Here it is spun for.
local spinning = [[
local weir = require "weir"
local locks = weir.shared "locks"
local function burn(n)
    local x = 0
    for _ = 1, n do x = x + math.random() end
    return x
end
return function(event)
    burn(20000)
    if event.n % 2 == 0 then
        while not locks:add("lock", 1) do end
        burn(20000)
        locks:delete "lock"
    end
end
]]

local function contend(report, subject, seconds)
    local server = start("contended", {["weir.yaml"] = contended:format(subject == "no detection" and "false" or "true"),
        ["work.lua"] = spinning})
    if type(subject) == "number" then
        weir(server, "freeze pools.slow.threads")
        weir(server, "set pools.slow.threads " .. subject)
        socket.sleep(seconds / 2)
    else
        socket.sleep(seconds * 10)
    end
    local rate, mean = watch(server, type(subject) == "number" and seconds * 2 or seconds * 10, threads_of)
    report:add("contended", tostring(subject), "rate", rate)
    report:add("contended", tostring(subject), "threads", mean)
    processes.stop(server)
end

-- ---- batches ----

local BATCHES <const> = {1, 10, 50, 100, 150, 200, 300, 400, 1000}
local batched = [[
weir: 1
pools: {gen: {threads: 1}, main: {threads: 1}}
stages:
  gen: {source: generator, value: 1, pool: gen, to: {out: {stage: work, overflow: wait}}}
  work: {handler: work.lua, queue: {capacity: 4096}, batch: {min: 1, max: 1000, controller: {name: throughput, bound: 100ms}}}
]]
-- The thesis' stage: the first of 200 events of a batch makes 10 000 random numbers, each other one a 17th of that.
local amortized = [[
local function burn(n)
    local x = 0
    for _ = 1, n do x = x + math.random() end
    return x
end
return {handle_batch = function(events)
    for i = 1, #events do burn(i % 200 == 1 and 10000 or 575) end
end}
]]

local function batch(report, subject, from, seconds)
    local server = start("batches", {["weir.yaml"] = batched, ["work.lua"] = amortized})
    if from < 1000 then
        weir(server, "freeze stages.work.batch")
        weir(server, "set stages.work.batch " .. from)
        if subject ~= tostring(from) then
            weir(server, "unfreeze stages.work.batch")
        end
    elseif subject == "1000" then
        weir(server, "freeze stages.work.batch")
    end
    local finds = subject:find(FOUND, 1, true)
    socket.sleep(finds and seconds * 15 or seconds / 2)
    local rate, mean, least, most = watch(server, finds and seconds * 15 or seconds * 2, batch_of)
    report:add("batches", subject, "rate", rate)
    report:add("batches", subject, "batch", mean)
    report:add("batches", subject, "least", least)
    report:add("batches", subject, "most", most)
    processes.stop(server)
end

-- ---- a drop ----

local HIGH <const>, LOW <const> = 200000, 2000
local dropping = [[
weir: 1
pools: {gen: {threads: 1}, main: {threads: 1}}
stages:
  high: {source: generator, rate: %d, count: %d, value: 1, pool: gen, to: work}
  low: {source: generator, rate: %d, value: 1, pool: gen, to: work}
  work: {handler: work.lua, queue: {capacity: 4096}, batch: {min: 1, max: 1000, controller: {name: throughput, bound: 100ms}}}
]]

-- Time in the queue and in the handler, at the 99th percentile, of the worst second after the load fell to a hundredth.
local function drop(report, seconds)
    local server = start("drop", {["weir.yaml"] = dropping:format(HIGH, math.floor(HIGH * seconds * 5), LOW), ["work.lua"] = amortized})
    repeat
        socket.sleep(0.1)
        local s = stats(server)
    until s.stages.work.ledger.offered >= HIGH * seconds * 5 * 0.5 and s.stages.work.recent.offered < 2 * LOW
    local worst = 0
    for _ = 1, 20 do
        local recent = stats(server).stages.work.recent
        worst = math.max(worst, (recent.wait_us.p99 + recent.service_us.p99) / 1e6)
        socket.sleep(seconds / 10)
    end
    report:add("drop", FOUND, "latency", worst)
    report:add("drop", FOUND, "batch", batch_of(stats(server)))
    processes.stop(server)
end

-- ---- tables ----

local function say_blocking(report)
    report:say(("\nA blocking stage, %g ms an event: the most threads once settled, after the load back at one " ..
        "(idle: 1 s, sample: 200 ms)."):format(SERVICE * 1000))
    local rows = {{"events/s", "needed", "allowed", "hillclimb", "queue", "hillclimb back, s", "queue back, s", "lost"}}
    for _, rate in ipairs(RATES) do
        local case, needs = "blocking " .. rate, rate * SERVICE
        rows[#rows + 1] = {tostring(rate), ("%g"):format(needs), tostring(math.ceil(1.2 * needs) + 1),
            report:cell(case, "hillclimb", "threads", "%.0f"),
            report:cell(case, "queue", "threads", "%.0f"), report:cell(case, "hillclimb", "back", "%.2f"), report:cell(case, "queue", "back", "%.2f"),
            report:cell(case, "hillclimb", "lost", "%.0f")}
    end
    report:print_table(rows)
end

-- Rows of subjects with their share of the best fixed one.
local function say_shares(report, case, subjects, fixed, heads, cells)
    local best = 0
    for _, subject in ipairs(fixed) do
        best = math.max(best, report:sum_up(case, tostring(subject), "rate") or 0)
    end
    local rows = {{"", "events/s", "of the best fixed", table.unpack(heads)}}
    for _, subject in ipairs(subjects) do
        local name = tostring(subject)
        local rate = report:sum_up(case, name, "rate")
        local row = {name, report:cell(case, name, "rate", "%.0f"), rate and ("%.2f"):format(rate / best) or "-"}
        for _, metric in ipairs(cells) do
            row[#row + 1] = report:cell(case, name, metric, "%.0f")
        end
        rows[#rows + 1] = row
    end
    report:print_table(rows)
end

local function all(fixed, ...)
    local list = table.move(fixed, 1, #fixed, 1, {})
    for _, subject in ipairs {...} do
        list[#list + 1] = subject
    end
    return list
end

return function(options, report)
    local seconds = options.seconds
    local contenders = all(SIZES, "hillclimb", "no detection")
    local from_min, from_max = FOUND .. " from 1", FOUND .. " from 1000"
    for _ = 1, options.rounds do
        for _, rate in ipairs(RATES) do
            settle(report, "hillclimb", rate, seconds)
            settle(report, "queue", rate, seconds)
        end
        for _, subject in ipairs(contenders) do
            contend(report, subject, seconds)
        end
        for _, size in ipairs(BATCHES) do
            batch(report, tostring(size), size, seconds)
        end
        batch(report, from_min, 1, seconds)
        batch(report, from_max, 1000, seconds)
        drop(report, seconds)
    end
    say_blocking(report)
    report:say "\nA lock that is spun for, in half of the events: threads fixed, found, and found without detection of thrashing."
    say_shares(report, "contended", contenders, SIZES, {"threads, mean"}, {"threads"})
    report:say "\nBatches of which each 200 events share a price: fixed, and found from either end."
    say_shares(report, "batches", all(BATCHES, from_min, from_max), BATCHES, {"batch, mean", "least", "most"}, {"batch", "least", "most"})
    report:say(("\nThe load falls from %d to %d events a second: p99 of queue and handler after that %s ms, batch %s."):format(HIGH, LOW,
        report:cell("drop", FOUND, "latency", "%.1f", 1e3), report:cell("drop", FOUND, "batch", "%.0f")))
end
