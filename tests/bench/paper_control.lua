-- Controllers over time. Figure 8: a pool's size under three bursts of clients; figure 9: the size of batches while the
-- load swings; the recovery race: a step of load and what each admission controller makes of it.
local cjson = require "cjson"
local socket = require "socket"
local place = require "place"
local processes = require "processes"
local recovery = require "recovery"

local function stats(server)
    return cjson.decode(place.capture(("%s stats --json --admin %s"):format(place.weir, place.quote(server.admin))))
end

-- ---- figure 8 ----

local CLIENTS <const> = {64, 128, 256}
local pool_yaml <const> = [[
weir: 1
name: bursts
pools:
  main: {threads: 1}
  disk: {threads: {min: 1, max: 20}, blocking: true, controller: {name: queue, threshold: 10, sample: %dms, idle: %dms}}
stages:
  web: {source: http, listen: "127.0.0.1:${PORT}", to: read}
  read: {handler: read.lua, pool: disk, libs: all, queue: {capacity: 4096}}
]]
local reading <const> = [[
local socket = require "socket"
return function(req)
    socket.sleep(0.005)
    req:reply(200, "read\n")
end
]]

local function fig8(options, report, draw)
    local burst = options.seconds * 5
    local sample, idle = burst * 20 // 1, burst * 50 // 1 -- of a burst what the paper's 2 s and 5 s were of theirs, roughly
    local folder = place.make_app("bursts", {["weir.yaml"] = pool_yaml:format(sample, idle), ["read.lua"] = reading})
    local server = processes.start_weir("bursts", folder, {cpu = 0})
    local threads, queued, began = {}, {}, socket.gettime()
    local peaks, ends = {}, {}
    local function look()
        local s, at = stats(server), socket.gettime() - began
        threads[#threads + 1] = {at, s.pools.disk.threads}
        queued[#queued + 1] = {at, s.stages.read.ledger.queued}
        return s.pools.disk.threads
    end
    for i, clients in ipairs(CLIENTS) do
        local out = place.out .. "/burst.txt"
        place.shell(("taskset -c 1 %s %d %g %d think_ms=20 requests=50 >%s &"):format(place.compile("closed_loop"), server.port, burst, clients,
            place.quote(out)))
        local from = socket.gettime()
        peaks[i] = 0
        while socket.gettime() - from < burst do
            peaks[i] = math.max(peaks[i], look())
            socket.sleep(burst / 100)
        end
        while socket.gettime() - from < burst * 1.5 do
            ends[i] = look()
            socket.sleep(burst / 100)
        end
        local case = clients .. " clients"
        report:add("fig8", case, "most threads", peaks[i])
        report:add("fig8", case, "threads after it", ends[i])
        report:add("fig8", case, "rate", cjson.decode(place.read(out)).rate)
    end
    processes.stop(server)
    report:say "Figure 8: threads of a blocking pool (5 ms a request, at most 20) under three bursts of clients that think for 20 ms."
    local rows = {{"burst", "answers/s", "most threads", "after it"}}
    for _, clients in ipairs(CLIENTS) do
        local case = clients .. " clients"
        rows[#rows + 1] = {case, report:cell("fig8", case, "rate", "%.0f"), report:cell("fig8", case, "most threads", "%.0f"),
            report:cell("fig8", case, "threads after it", "%.0f")}
    end
    report:print_table(rows)
    draw("fig8", {title = "Figure 8: a pool under bursts of 64, 128 and 256 clients", x = {label = "seconds", tight = true}, y = {label = "threads"},
        y2 = {label = "events queued"}, series = {{name = "threads", points = threads}, {name = "queued", second = true, points = queued}}})
end

-- ---- figure 9 ----

-- The load rises and falls like a sine, three times, and falls to nothing at the end of each.
local batch_yaml <const> = [[
weir: 1
name: swing
pools: {main: {threads: 1}, load: {threads: 1}}
stages:
  up: {source: http, listen: "127.0.0.1:${PORT}", to: none}
  none: {sink: "null"}
  tick: {source: timer, every: 10ms, pool: load, to: swing}
  swing: {handler: swing.lua, pool: load, to: work, config: {period: %g, most: 120000}}
  work: {handler: work.lua, queue: {capacity: 16384}, batch: {min: 1, max: 1000, controller: {name: throughput, sample: 100ms, bound: 100ms}}}
]]
local swinging <const> = [[
local weir = require "weir"
local M, config, began, owed, last = {}, {}, nil, 0, nil
function M.init(ctx) config = ctx.config end
function M.handle()
    local now = weir.now()
    began, last = began or now, last or now
    local phase = (now - began) %% config.period / config.period
    local rate = phase < 0.85 and config.most * math.sin(phase / 0.85 * math.pi / 2) or 200
    owed = math.min(owed + rate * (now - last), 2000)
    last = now
    while owed >= 1 do
        weir.emit("out", 1)
        owed = owed - 1
    end
end
return M
]]
local amortized <const> = [[
local function burn(n)
    local x = 0
    for _ = 1, n do x = x + math.random() end
    return x
end
return {handle_batch = function(events)
    burn(20000)
    for _ = 1, #events do burn(500) end
end}
]]

local function fig9(options, report, draw)
    local period = options.seconds * 5
    local folder = place.make_app("swing", {["weir.yaml"] = batch_yaml:format(period), ["swing.lua"] = swinging:gsub("%%%%", "%%"),
        ["work.lua"] = amortized})
    local server = processes.start_weir("swing", folder, {})
    local batches, rates, began = {}, {}, socket.gettime()
    local before, last = stats(server).stages.work.ledger.handled, began
    while socket.gettime() - began < 3 * period do
        socket.sleep(0.1)
        local s, now = stats(server).stages.work, socket.gettime()
        batches[#batches + 1] = {now - began, s.batch}
        rates[#rates + 1] = {now - began, (s.ledger.handled - before) / (now - last)}
        before, last = s.ledger.handled, now
    end
    local sum = stats(server).stages.work.ledger
    processes.stop(server)
    local least, most = math.huge, 0
    for _, point in ipairs(batches) do
        least, most = math.min(least, point[2]), math.max(most, point[2])
    end
    report:add("fig9", "batch", "least", least)
    report:add("fig9", "batch", "most", most)
    report:add("fig9", "batch", "lost", sum.offered - sum.handled - sum.queued - sum.running)
    report:say(("Figure 9: batches between %d and %d while the load swings from 0 to 120 000/s; %d events refused."):format(least, most,
        sum.offered - sum.handled - sum.queued - sum.running))
    draw("fig9", {title = "Figure 9: batches while the load swings", x = {label = "seconds", tight = true}, y = {label = "events handled/s"},
        y2 = {label = "events in a batch, at most"},
        series = {{name = "events/s", points = rates}, {name = "batch", second = true, points = batches}}})
end

-- ---- the recovery race ----

local function race(_, report, draw)
    local lines = {}
    recovery.measure(report, function(name, series)
        local points = {}
        for _, slot in ipairs(series) do
            if slot.p90 < math.huge then
                points[#points + 1] = {slot.at, slot.p90}
            end
        end
        lines[#lines + 1] = {name = name, points = points}
    end)
    recovery.show(report)
    draw("recovery", {title = "A step to 1.4 times the capacity at 5 s, back at 11 s: p90 of answers", x = {label = "seconds", tight = true},
        y = {label = "ms", log = true}, series = lines})
end

return {{name = "fig8", run = fig8}, {name = "fig9", run = fig9}, {name = "recovery", run = race}}
