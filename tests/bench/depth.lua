-- A stage with ever more events in its queue: whether it handles as many a second, and how long each waits.
local cjson = require "cjson"
local socket = require "socket"
local place = require "place"
local processes = require "processes"

local DEPTHS <const> = {1000, 10000, 100000, 1048576}

-- The queue is kept full: its source waits for room, and makes more as soon as there is some.
local yaml = [[
weir: 1
name: depth
pools: {gen: {threads: 1}, main: {threads: 1}}
stages:
  up: {source: http, listen: "127.0.0.1:${PORT}", to: none}
  none: {sink: "null"}
  gen: {source: generator, value: {user: 7, text: "a short line", tags: [1, 2]}, pool: gen, to: {out: {stage: work, overflow: wait}}}
  work: {handler: work.lua, queue: {capacity: %d, bytes: 2GiB}, batch: 64}
]]
local work = [[
return function(event)
    local x = 0
    for i = 1, 200 do x = (x * 31 + event.user + i) % 65521 end
end
]]

local function stage_of(server)
    local text = place.capture(("%s stats --json --admin %s"):format(place.weir, place.quote(server.admin)))
    return cjson.decode(text).stages.work
end

local function measure(options, report, depth)
    local folder = place.make_app("depth", {["weir.yaml"] = yaml:format(depth), ["work.lua"] = work})
    local server = processes.start_weir("depth", folder, {})
    local stage
    repeat
        socket.sleep(0.05)
        stage = stage_of(server)
    until stage.ledger.offered >= depth and stage.ledger.queued > 0.5 * depth
    local filled = stage.ledger.handled + stage.ledger.queued
    repeat -- until those that came in while it filled are gone
        socket.sleep(options.seconds)
    until stage_of(server).ledger.handled > filled
    local before, began, queued, looks = stage_of(server).ledger.handled, socket.gettime(), 0, 0
    repeat
        socket.sleep(options.seconds / 5)
        stage = stage_of(server)
        queued, looks = queued + stage.ledger.queued, looks + 1
    until looks == 10
    queued = queued / looks
    local rate = (stage.ledger.handled - before) / (socket.gettime() - began)
    report:add("depth", tostring(depth), "rate", rate)
    report:add("depth", tostring(depth), "wait", stage.recent.wait_us.p50 / 1e6)
    report:add("depth", tostring(depth), "expected", queued / rate)
    report:add("depth", tostring(depth), "queued", queued)
    report:add("depth", tostring(depth), "rss", processes.memory(server, "Rss") / depth)
    processes.stop(server)
end

return function(options, report)
    for _ = 1, options.rounds do
        for _, depth in ipairs(DEPTHS) do
            measure(options, report, depth)
        end
    end
    report:say "Events in the queue, handled a second, the wait of the median event, and what Little's law says."
    local rows = {{"capacity", "queued", "events/s", "of 1000", "wait, s", "queued / rate, s"}}
    for _, depth in ipairs(DEPTHS) do
        local name = tostring(depth)
        local rate, base = report:sum_up("depth", name, "rate"), report:sum_up("depth", "1000", "rate")
        rows[#rows + 1] = {name, report:cell("depth", name, "queued", "%.0f"), report:cell("depth", name, "rate", "%.0f"),
            ("%.3f"):format(rate / base), report:cell("depth", name, "wait", "%.4g"),
            report:cell("depth", name, "expected", "%.4g")}
    end
    report:print_table(rows)
end
